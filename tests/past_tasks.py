"""Earlier tasks with results, for others to start from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from tests.conftest import SMALL_TASK
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus, TaskStatus
from tuning.domain.names import FlagValue
from tuning.domain.space import configuration_hash
from tuning.domain.spec import TaskSpec, parse_task
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import submit

BATCHES = [16, 32, 64, 128, 256, 512, 1024]
THREADS = [1, 2, 4, 8]
Speed = Callable[[Mapping[str, FlagValue]], float]


def fast_in_a_corner(parameters: Mapping[str, FlagValue]) -> float:
    """Tokens/s: the best is the largest batch with the fewest threads."""
    return 100 + float(parameters["batch-size"]) / 10 - 5 * float(parameters["threads"])


def document(warm_start: Any = False, **sections: Any) -> dict[str, Any]:
    written = copy.deepcopy(SMALL_TASK)
    written["parameters"] = {"batch-size": BATCHES, "threads": THREADS, "ctx-size": 2048}
    written["optimization"] |= {
        "strategy": "bayesian",
        "max_iterations": 6,
        "warm_start": warm_start,
        "baseline": False,
    }
    for name, value in sections.items():
        is_part = isinstance(value, dict) and name != "parameters"
        written[name] = {**written.get(name, {}), **value} if is_part else value
    return written


def spec_of(warm_start: Any = False, **sections: Any) -> TaskSpec:
    return parse_task(document(warm_start, **sections))


def past_task(
    owner: User | None = None, speed: Speed = fast_in_a_corner, count: int = 9, **sections: Any
) -> Task:
    """A completed task with `count` measured configurations, evenly over its space."""
    spec = spec_of(**sections)
    task = submit(spec, owner=owner)
    listed = spec.space().listing()
    Experiment.objects.bulk_create(
        Experiment(
            task=task,
            number=number,
            purpose=ExperimentPurpose.SEARCH.value,
            parameters=parameters,
            configuration_hash=configuration_hash(parameters),
            status=ExperimentStatus.SUCCESS.value,
            attempt=1,
            host="elsewhere",
            environment={"cpu_count": 8, "memory_mib": 16_000, "gpus": []},
            score=speed(parameters),
            objective_value=speed(parameters),
            finished_at=timezone.now(),
        )
        for number, parameters in enumerate(listed[:: max(1, len(listed) // count)][:count], 1)
    )
    Task.objects.filter(pk=task.pk).update(
        status=TaskStatus.COMPLETED.value,
        best_experiment=task.experiments.order_by("-score").first(),
        started_at=timezone.now(),
        finished_at=timezone.now(),
    )
    return task


def started(spec: TaskSpec, owner: User | None = None, **fields: Any) -> Task:
    task = submit(spec, owner=owner, **fields)
    advance(task.pk)
    task.refresh_from_db()
    return task


def warm(task: Task) -> list[int]:
    return [one.task_id for one in task.earlier_tasks]
