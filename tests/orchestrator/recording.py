"""Putting results into the database as a worker would, without an engine."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from tuning.domain.lifecycle import ExperimentEvent
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import claim

OWNER = "elsewhere/1/1.00"
"""A process of another host: alive for as long as its lease is."""


def run_next(task: Task, value: float | None, **failure: Any) -> Experiment:
    """Claim what `advance` queued and end it: measured with `value`, or failed."""
    (experiment_id,) = advance(task.pk).ready
    lease = claim(experiment_id, OWNER)
    assert lease is not None
    if value is None:
        fields = {"failure_kind": "crashed", "failure_message": "Exit code 1.", **failure}
        lease.end(ExperimentEvent.FAILED, finished_at=timezone.now(), **fields)
    else:
        lease.move(ExperimentEvent.ENGINE_READY)
        lease.end(
            ExperimentEvent.MEASURED,
            objective_value=value,
            score=value,
            finished_at=timezone.now(),
        )
    return Experiment.objects.get(pk=experiment_id)
