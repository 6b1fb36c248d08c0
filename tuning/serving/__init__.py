"""`manage.py serve`: everything one machine needs, started, watched and stopped by one process."""
