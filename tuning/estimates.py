"""How long experiments will take: as long as earlier ones did, and how many go side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from django.db.models import Avg, F

from tuning.composition import HostGpus
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.names import DeploymentMode
from tuning.domain.planning import estimate_experiment_s
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Task
from tuning.orchestrator.gpus import fitting, gpus_of_workers

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


def estimated_total_s(runs: int, experiment_s: float, at_once: int) -> float:
    """Seconds of `runs` experiments of which `at_once` go side by side."""
    return math.ceil(runs / at_once) * experiment_s


def _gpus_here() -> int:
    return len(HostGpus().cards().present)


def _gpus_of_workers() -> tuple[int, ...]:
    return tuple(gpus_of_workers().values())


@dataclass
class Capacity:
    """GPUs of this host, and of each host with a live worker: for many tasks looked at once.

    They are looked at when a task that takes some first asks for them, which costs one query.
    """

    here: Callable[[], int] = field(default_factory=lambda: cache(_gpus_here))
    on_workers: Callable[[], tuple[int, ...]] = field(
        default_factory=lambda: cache(_gpus_of_workers)
    )

    def runs_at_once(self, spec: TaskSpec, driver: str = "") -> int:
        """How many experiments of a task go side by side, by its baseline.

        What the task sets, but no more than the GPUs hold where its engines take some. A task with
        a `driver` has this host alone, and so has one that no worker is there for.
        """
        limit, on_host = spec.optimization.max_parallel, HostGpus()
        is_limited_by_gpus = (
            limit != 1
            and spec.deployment_mode is not DeploymentMode.OME
            and on_host.needed(spec, spec.space().baseline()) > 0
        )
        counts: tuple[int, ...] = ()
        if is_limited_by_gpus:
            counts = (() if driver else self.on_workers()) or (self.here(),)
        if not any(counts):
            return limit or 1
        room = fitting(spec, on_host, counts)
        return min(limit or room, room)
