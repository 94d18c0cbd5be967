"""The components of meshup: what others import.

Each module has pure functions that decide on plain data and one `ComponentResource` that registers the decision.
"""
