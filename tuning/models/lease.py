"""A lease: who runs an experiment at this moment."""

from __future__ import annotations

import uuid

from django.db import models

from tuning.models.experiment import Experiment


class Lease(models.Model):
    """The right to run one experiment, held for as long as its heartbeat goes on.

    Every write of the holder filters on `token`, so that one who lost the lease records nothing.
    """

    experiment = models.OneToOneField(
        Experiment, on_delete=models.CASCADE, related_name="lease", primary_key=True
    )
    token = models.UUIDField(default=uuid.uuid4, unique=True)
    owner = models.CharField(max_length=255, help_text="host/pid/start time of the process")
    acquired_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.experiment} held by {self.owner}"
