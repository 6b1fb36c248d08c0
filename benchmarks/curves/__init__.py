"""Configurations measured at several loads, replayed. `benchmarks/pruning.py` runs them."""
