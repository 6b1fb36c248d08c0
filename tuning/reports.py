"""The result of a task: what the terminal prints, what `--json` gives, what an export holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings

from tuning.documents.experiment import experiment_detail
from tuning.documents.front import FrontDocument
from tuning.documents.gain import GainDocument
from tuning.documents.task import ObjectiveDocument, WarmStartDocument
from tuning.domain.metrics import METRICS, Direction, latency_name
from tuning.domain.objectives import MeasuredPoint, Objective, metric_objective, values_of
from tuning.domain.spec import TaskSpec
from tuning.domain.verdict import GainVerdict
from tuning.fronts import FrontMember, front_of
from tuning.logs import log_path
from tuning.models import Experiment, Task
from tuning.verdicts import gain_over_baseline, verdicts_of

HEADLINE_METRICS = (
    "output_throughput_tokens_per_s",
    latency_name("ttft", "p50"),
    latency_name("tpot", "p50"),
    latency_name("e2e_latency", "p99"),
)
"""What is shown of every experiment beside the objective."""


@dataclass(frozen=True)
class ExperimentRow:
    """One experiment with each headline metric reduced over its load points."""

    experiment: Experiment
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class TaskReport:
    task: Task
    spec: TaskSpec
    rows: Sequence[ExperimentRow]
    best: Experiment | None
    baseline: Experiment | None
    gain_over_baseline: float | None
    verdicts: Sequence[GainVerdict]
    front: Sequence[FrontMember]
    log_file: Path

    @property
    def varying_flags(self) -> tuple[str, ...]:
        """The flags that were tuned, in the order of the task file."""
        return self.spec.space().tuned


def task_report(task: Task) -> TaskReport:
    """Read everything in two queries: the experiments, and all their measurements."""
    spec = task.parsed_spec()
    experiments = list(task.experiments.prefetch_related("measurements"))
    by_id = {one.pk: one for one in experiments}
    for one in experiments:
        if one.original_id is not None:
            one.original = by_id[one.original_id]
    best = next((one for one in experiments if one.pk == task.best_experiment_id), None)
    baseline = next((one for one in experiments if one.is_baseline), None)
    return TaskReport(
        task=task,
        spec=spec,
        rows=[_row(experiment, spec.objectives) for experiment in experiments],
        best=best,
        baseline=baseline,
        gain_over_baseline=gain_over_baseline(task, spec.objective, best, baseline),
        verdicts=verdicts_of(task, spec.objectives, best, baseline),
        front=front_of(spec, experiments, task.best_experiment_id),
        log_file=log_path(settings.AUTOTUNER_LOG_DIR, task.pk),
    )


def _row(experiment: Experiment, objectives: Sequence[Objective]) -> ExperimentRow:
    points = [measurement.as_point() for measurement in experiment.measurements.all()]
    metrics = headline_metrics(points, *objectives)
    if experiment.early_end and experiment.objective_value is None:
        # A value of some loads would look like one of all of them.
        metrics |= dict.fromkeys((one.metric for one in objectives), None)
    return ExperimentRow(experiment, metrics)


def headline_names(*objectives: Objective) -> list[str]:
    """The objectives' metrics, and then those of `HEADLINE_METRICS` that are none."""
    return list(dict.fromkeys((*(one.metric for one in objectives), *HEADLINE_METRICS)))


def headline_metrics(
    points: Sequence[MeasuredPoint], *objectives: Objective
) -> dict[str, float | None]:
    """Those of `headline_names`, each reduced over all load points."""
    names = headline_names(*objectives)
    # A point has dozens of metrics, and each costs a median over its repeats.
    few = [
        replace(
            point, metrics={name: point.metrics[name] for name in names if name in point.metrics}
        )
        for point in points
    ]
    return dict(zip(names, values_of(few, [_natural(name) for name in names]), strict=True))


def _natural(metric: str) -> Objective:
    """Improving the metric, whatever the task is after."""
    return metric_objective(metric, METRICS[metric].direction or Direction.MINIMIZE)


def as_document(report: TaskReport) -> dict[str, Any]:
    """The report as one JSON document. Times are seconds, throughputs tokens/s."""
    task = report.task
    warm_start = WarmStartDocument.of(task)
    return {
        "task_id": task.pk,
        "task_name": task.name,
        "status": task.status,
        "status_reason": task.status_reason,
        "objective": _objective_document(report.spec.objective),
        "objectives": [_objective_document(one) for one in report.spec.objectives],
        "best_experiment": None if report.best is None else report.best.number,
        "best_parameters": None if report.best is None else report.best.parameters,
        "best_command": None if report.best is None else report.best.command,
        "gain_over_baseline": report.gain_over_baseline,
        "pareto_front": [FrontDocument.of(one).model_dump(mode="json") for one in report.front],
        "warm_start": None if warm_start is None else warm_start.model_dump(mode="json"),
        "verdicts": [GainDocument.of(one).model_dump(mode="json") for one in report.verdicts],
        "experiments": [
            experiment_detail(row.experiment).model_dump(mode="json") for row in report.rows
        ],
        "log_file": str(report.log_file),
    }


def _objective_document(objective: Objective) -> dict[str, Any]:
    return ObjectiveDocument.model_validate(objective).model_dump(mode="json")
