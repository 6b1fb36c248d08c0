"""A GPU of a host that is given to an experiment, so that no two of them ever share one."""

from __future__ import annotations

from django.db import models

from tuning.domain.names import DeploymentMode
from tuning.models.choices import choices_of
from tuning.models.lease import Lease


class GpuLease(models.Model):
    """One card, held for as long as its experiment's lease.

    A row without a lease is that of a dead worker: its engine may still be on the card, which is
    given to nobody until a sweep of `host` has removed the engines of that `deployment_mode`.

    Experiments that take no card hold a seat of the host instead, so that they don't disturb each
    other's measurements; seats have the indices -1, -2, and so on.
    """

    host = models.CharField(max_length=255)
    index = models.IntegerField(help_text="As the driver counts the host's cards, from 0.")
    deployment_mode = models.CharField(max_length=16, choices=choices_of(DeploymentMode))
    lease = models.ForeignKey(
        Lease, null=True, blank=True, on_delete=models.SET_NULL, related_name="gpus"
    )

    class Meta:
        ordering = ["host", "index"]
        constraints = [
            models.UniqueConstraint(fields=["host", "index"], name="gpu_lease_is_of_one_experiment")
        ]

    def __str__(self) -> str:
        what = f"GPU {self.index}" if self.index >= 0 else f"seat {-self.index}"
        return f"{what} of {self.host}"
