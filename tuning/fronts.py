"""The Pareto front of a task with several objectives: the one source of pages and documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.pareto import non_dominated
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Task
from tuning.orchestrator.choosing import scores_of


@dataclass(frozen=True)
class FrontMember:
    """One experiment that no other one beats in every objective. `values` are by metric, in their
    own units; the knee is what is suggested."""

    experiment: Experiment
    values: Mapping[str, float | None]
    is_knee: bool


def front_of(
    spec: TaskSpec, experiments: Iterable[Experiment], best_id: int | None
) -> list[FrontMember]:
    """The best in the first objective first; empty with a single objective. No query."""
    if len(spec.objectives) == 1:
        return []
    scored = [
        (one, point)
        for one in experiments
        if one.is_first_launch
        and one.state is ExperimentStatus.SUCCESS
        and (point := scores_of(spec, one)) is not None
    ]
    directions = [one.direction for one in spec.objectives]
    front = non_dominated([point for _, point in scored], directions)
    return [_member(spec, scored[index][0], best_id) for index in front]


def read_front(task: Task, spec: TaskSpec) -> list[FrontMember]:
    """One query, and none with a single objective."""
    if len(spec.objectives) == 1:
        return []
    successes = task.experiments.filter(
        status=ExperimentStatus.SUCCESS.value, original__isnull=True
    ).only(
        "task_id",
        "number",
        "purpose",
        "status",
        "parameters",
        "objective_value",
        "objective_values",
        "objective_scores",
        "num_requests",
        "num_failed_requests",
    )
    return front_of(spec, successes, task.best_experiment_id)


def _member(spec: TaskSpec, experiment: Experiment, best_id: int | None) -> FrontMember:
    values = {one.metric: experiment.value_of(one.metric) for one in spec.objectives}
    return FrontMember(experiment, values, experiment.pk == best_id)
