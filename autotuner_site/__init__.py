"""The Django project. Celery's app is imported here so that `celery -A autotuner_site` finds it."""

from autotuner_site.celery import app as celery_app

__all__ = ["celery_app"]
