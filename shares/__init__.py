"""Declared shares beside counted ones: the one place of their interval and verdict. Both halves of meshup import it; it
imports neither.
"""
