"""A worker: a process that takes experiments from the queue."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q


class WorkerHeartbeat(models.Model):
    """One running worker, for as long as its heartbeat goes on.

    Only for people to look at: what a worker may record is decided by `Lease` alone. `name` is
    `host/pid/start time`, as in a lease, because two workers may bear the same Celery node name.
    """

    name = models.CharField(max_length=255, unique=True)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    version = models.CharField(max_length=32, help_text="Release of the autotuner it runs.")
    concurrency = models.PositiveIntegerField(help_text="Most experiments it runs at a time.")
    gpus = models.PositiveIntegerField(default=0, help_text="Cards of its host.")
    cards_mib: models.JSONField[Any, list[float]] = models.JSONField(
        default=list, help_text="MiB of each card of its host that tells."
    )
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    class Meta:
        ordering = ["host", "started_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(heartbeat_at__gte=F("started_at")),
                name="worker_heartbeat_is_after_its_start",
            ),
        ]

    def __str__(self) -> str:
        return self.name
