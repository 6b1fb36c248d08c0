"""Searches with real engines on this machine. `benchmarks/real.py` runs them."""
