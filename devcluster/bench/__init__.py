"""`make bench`: what `pulumi up` costs, as ratios to the tools that it takes the place of.

Everything is measured in one run on one embedded cluster of its own, because only then a ratio means something:
seconds depend on the machine and on what else runs on it. docs/benchmarks.md says how to read the figures.
"""
