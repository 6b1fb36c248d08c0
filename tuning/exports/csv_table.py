"""Every measurement of a task as one row of a table, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from tuning.domain.metrics import ALL_METRIC_NAMES
from tuning.exports.export import Export, filename
from tuning.models import Experiment, Measurement, Task
from tuning.reports import TaskReport, task_report

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet would take for a formula."""


def results_as_csv(task: Task) -> Export:
    """Empty cells stand for what there is not: a flag left at its default, a missing metric."""
    rows = list(_rows(task_report(task)))
    columns = _columns(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return Export(text.getvalue(), "text/csv; charset=utf-8", filename(task, "results", "csv"))


def _rows(report: TaskReport) -> Iterator[dict[str, Any]]:
    for row in report.rows:
        experiment = row.experiment
        is_best = report.best is not None and report.best.pk == experiment.pk
        for measurement in experiment.measurements.all():
            yield {
                **_of_experiment(experiment, is_best=is_best),
                **_of_measurement(measurement),
                **{f"parameters.{name}": item for name, item in experiment.parameters.items()},
                **measurement.metrics,
            }


def _of_experiment(experiment: Experiment, *, is_best: bool) -> dict[str, Any]:
    return {
        "task_id": experiment.task_id,
        "experiment": experiment.number,
        "status": experiment.status,
        "failure_kind": experiment.failure_kind,
        "purpose": experiment.purpose,
        "original": experiment.original and experiment.original.number,
        "round": experiment.round,
        "is_baseline": experiment.is_baseline,
        "is_best": is_best,
        "objective_value": experiment.objective_value,
        "score": experiment.score,
        "experiment_failed_requests": experiment.num_failed_requests,
    }


def _of_measurement(measurement: Measurement) -> dict[str, Any]:
    return {
        "scenario": measurement.scenario,
        "concurrency": measurement.concurrency,
        "repeat": measurement.repeat,
        "num_requests": measurement.num_requests,
        "num_failed_requests": measurement.num_failed_requests,
        "duration_s": measurement.duration_s,
        "cache_flush": measurement.cache_flush,
    }


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """All columns of any row: flags as they come, then the metrics in their usual order."""
    seen = dict.fromkeys(name for row in rows for name in row)
    metrics = [name for name in ALL_METRIC_NAMES if name in seen]
    first = [*_of_experiment(Experiment(), is_best=False), *_of_measurement(Measurement())]
    return [*first, *(name for name in seen if name not in {*first, *metrics}), *metrics]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
