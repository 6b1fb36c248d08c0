"""The Celery application: `celery -A autotuner_site worker`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")

app = Celery("autotuner")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tuning"], related_name="jobs")
# Connects the signals that start a worker's sweep.
app.autodiscover_tasks(["tuning"], related_name="sweep")
