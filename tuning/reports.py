"""The result of a task: what the terminal prints, what `--json` gives, what the API will serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from tuning.domain.metrics import METRICS, Direction, latency_name
from tuning.domain.objectives import MeasuredPoint, Objective, evaluate, metric_objective
from tuning.domain.spec import TaskSpec
from tuning.logs import log_path
from tuning.models import Experiment, Task
from tuning.models.experiment import BASELINE_NUMBER
from tuning.progress import gain_over_baseline

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
    log_file: Path

    @property
    def varying_flags(self) -> tuple[str, ...]:
        """The flags that were tuned, in the order of the task file."""
        return self.spec.space().tuned


def task_report(task: Task) -> TaskReport:
    """Read everything in two queries: the experiments, and all their measurements."""
    spec = task.parsed_spec()
    experiments = list(task.experiments.prefetch_related("measurements"))
    best = next((one for one in experiments if one.pk == task.best_experiment_id), None)
    return TaskReport(
        task=task,
        spec=spec,
        rows=[_row(experiment, spec.objective) for experiment in experiments],
        best=best,
        baseline=next((one for one in experiments if one.number == BASELINE_NUMBER), None),
        gain_over_baseline=gain_over_baseline(spec, best, experiments),
        log_file=log_path(settings.AUTOTUNER_LOG_DIR, task.pk),
    )


def _row(experiment: Experiment, objective: Objective) -> ExperimentRow:
    points = [measurement.as_point() for measurement in experiment.measurements.all()]
    names = dict.fromkeys((objective.metric, *HEADLINE_METRICS))
    return ExperimentRow(experiment, {name: _reduced(points, name) for name in names})


def _reduced(points: Sequence[MeasuredPoint], metric: str) -> float | None:
    direction = METRICS[metric].direction or Direction.MINIMIZE
    return evaluate(points, metric_objective(metric, direction), ()).value


def as_document(report: TaskReport) -> dict[str, Any]:
    """The report as one JSON document. Times are seconds, throughputs tokens/s."""
    task = report.task
    return {
        "task_id": task.pk,
        "task_name": task.name,
        "status": task.status,
        "status_reason": task.status_reason,
        "objective": {
            "metric": report.spec.objective.metric,
            "direction": report.spec.objective.direction.value,
        },
        "best_experiment": None if report.best is None else report.best.number,
        "best_parameters": None if report.best is None else report.best.parameters,
        "best_command": None if report.best is None else report.best.command,
        "gain_over_baseline": report.gain_over_baseline,
        "experiments": [_experiment_document(row.experiment) for row in report.rows],
        "log_file": str(report.log_file),
    }


def _experiment_document(experiment: Experiment) -> dict[str, Any]:
    failure = experiment.failure
    return {
        "number": experiment.number,
        "is_baseline": experiment.is_baseline,
        "status": experiment.status,
        "parameters": experiment.parameters,
        "objective_value": experiment.objective_value,
        "score": experiment.score,
        "slo_verdicts": experiment.slo_verdicts,
        "failure": None
        if failure is None
        else {**failure.as_document(), "log_tail": experiment.log_tail},
        "attempt": experiment.attempt,
        "deploy_s": experiment.deploy_s,
        "benchmark_s": experiment.benchmark_s,
        "cleanup_s": experiment.cleanup_s,
        "command": experiment.command,
        "environment": experiment.environment,
        "measurements": [
            {
                "scenario": measurement.scenario,
                "concurrency": measurement.concurrency,
                "repeat": measurement.repeat,
                "num_requests": measurement.num_requests,
                "num_failed_requests": measurement.num_failed_requests,
                "duration_s": measurement.duration_s,
                "metrics": measurement.metrics,
            }
            for measurement in experiment.measurements.all()
        ],
    }
