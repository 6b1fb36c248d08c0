"""The Django project. Celery's app is imported here so that `celery -A autotuner_site` finds it."""

from autotuner_site.celery import app as celery_app

__version__ = "0.1.0"
"""The same as in pyproject.toml; a test keeps the two in step."""

__all__ = ["__version__", "celery_app"]
