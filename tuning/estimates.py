"""How long one experiment will take: as long as earlier ones did, where there are any."""

from __future__ import annotations

from django.db.models import Avg, F

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.planning import estimate_experiment_s
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Task

RECENT_TASKS = 20
"""Engines and machines change: older tasks say little, and reading them all takes time."""


def estimated_experiment_s(spec: TaskSpec) -> tuple[float, str]:
    """Seconds of one experiment, and what that is based on, in words."""
    document = spec.to_document()
    alike = Task.objects.filter(
        spec__base_runtime=document["base_runtime"],
        spec__model=document["model"],
        spec__benchmark=document["benchmark"],
    )
    # Two small queries: SQLite would look into the JSON of each experiment's task otherwise.
    tasks = list(alike.order_by("-id").values_list("pk", flat=True)[:RECENT_TASKS])
    mean = Experiment.objects.filter(
        status=ExperimentStatus.SUCCESS.value, task_id__in=tasks
    ).aggregate(mean=Avg(F("finished_at") - F("started_at")))["mean"]
    if mean is not None:
        return mean.total_seconds(), "measured by earlier experiments with the same traffic"
    return estimate_experiment_s(spec), "by rules of thumb; nothing like it was measured yet"
