"""Measure again what `results/` holds.

To use it: `python -m tools.reproduce --help`. To understand it read `plan`: what is measured,
and how many seeds of it. Machinery, not needed: `measure` trains and stores.
"""
