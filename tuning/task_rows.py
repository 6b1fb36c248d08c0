"""Tasks as lists show them: how far each is and what it has found, in three queries for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Avg, Count, F, Q

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.objectives import Objective
from tuning.domain.spec_objective import read_objectives
from tuning.domain.verdict import GainVerdict
from tuning.models import Experiment, Task
from tuning.models.experiment import BASELINE_NUMBER, TERMINAL_EXPERIMENT_STATUSES
from tuning.verdicts import about, gain_over_baseline, verdicts_of


@dataclass(frozen=True)
class TaskRow:
    """`total` counts the baseline and verification, too. `mean_whole_s` is of experiments that were
    measured to their end. `best` is the best so far of a task that has not ended."""

    task: Task
    objectives: Sequence[Objective]
    finished: int
    total: int
    mean_experiment_s: float | None
    mean_whole_s: float | None
    best: Experiment | None
    gain_over_baseline: float | None
    verdicts: Sequence[GainVerdict]

    @property
    def objective(self) -> Objective:
        """The first one, which lists show."""
        return self.objectives[0]

    @property
    def verdict(self) -> GainVerdict | None:
        """On the best by the first objective."""
        return next(iter(about(self.best, self.verdicts)), None)

    @property
    def engine(self) -> str:
        return str(self.task.spec["base_runtime"])

    @property
    def mode(self) -> str:
        return str(self.task.spec["deployment_mode"])

    @property
    def model(self) -> str:
        return str(self.task.spec["model"]["id_or_path"])


def read_rows(task_ids: Sequence[int]) -> list[TaskRow]:
    """Rows of these tasks, in this order; without those that are gone."""
    tasks = Task.objects.with_best().select_related("owner").in_bulk(task_ids)
    # Type checkers don't know annotations as attributes.
    best_ids: dict[int, int | None] = {pk: vars(task)["best_id"] for pk, task in tasks.items()}
    counts, results = _counts(best_ids), _results(best_ids)
    best = {one.task_id: one for one in results if one.pk == best_ids[one.task_id]}
    baselines = {one.task_id: one for one in results if one.is_baseline}
    return [
        _row(tasks[pk], counts.get(pk, {}), best.get(pk), baselines.get(pk))
        for pk in task_ids
        if pk in tasks
    ]


def _row(
    task: Task, counts: Mapping[str, Any], best: Experiment | None, baseline: Experiment | None
) -> TaskRow:
    # Read alone, because the whole spec takes some milliseconds to parse.
    objectives = read_objectives(task.spec["optimization"]["objective"])
    tried = counts.get("tried", 0)
    mean: timedelta | None = counts.get("mean_duration")
    whole: timedelta | None = counts.get("mean_whole")
    # A search may end before its plan does: then what was tried is all there is.
    planned = 0 if task.state.is_terminal else task.planned_experiments or 0
    return TaskRow(
        task=task,
        objectives=objectives,
        finished=counts.get("finished", 0),
        total=max(planned, tried),
        mean_experiment_s=None if mean is None else mean.total_seconds(),
        mean_whole_s=None if whole is None else whole.total_seconds(),
        best=best,
        gain_over_baseline=gain_over_baseline(task, objectives[0], best, baseline),
        verdicts=verdicts_of(task, objectives, best, baseline),
    )


def _counts(task_ids: Iterable[int]) -> dict[int, Mapping[str, Any]]:
    """By task: experiments tried and finished, and how long a finished one took on average."""
    experiments = Experiment.objects.filter(task__in=task_ids).order_by("task_id")
    counted = experiments.values("task_id").annotate(
        tried=Count("pk"),
        finished=Count("pk", filter=Q(status__in=TERMINAL_EXPERIMENT_STATUSES)),
        mean_duration=Avg(F("finished_at") - F("started_at")),
        mean_whole=Avg(
            F("finished_at") - F("started_at"), filter=Q(status=ExperimentStatus.SUCCESS.value)
        ),
    )
    return {row["task_id"]: row for row in counted}


def _results(best_ids: Mapping[int, int | None]) -> list[Experiment]:
    """The best experiment and the baseline of each task."""
    wanted = Q(pk__in=[pk for pk in best_ids.values() if pk is not None])
    wanted |= Q(task__in=best_ids, number=BASELINE_NUMBER)
    shown = (
        "task_id",
        "number",
        "purpose",
        "objective_value",
        "objective_values",
        "num_requests",
        "num_failed_requests",
        "parameters",
    )
    return list(Experiment.objects.filter(wanted).only(*shown))
