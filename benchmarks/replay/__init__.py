"""Searches replayed on recorded measurements of real systems. `benchmarks/search.py` runs them."""
