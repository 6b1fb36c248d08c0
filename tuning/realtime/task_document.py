"""A task as one JSON document: what a live page shows of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tuning.models import Experiment, Task
from tuning.progress import TaskProgress, read_progress


class TaskDocuments:
    """Documents of one task. Its spec never changes, so it is read once."""

    def __init__(self, task: Task) -> None:
        self._spec = task.parsed_spec()

    def read(self, task: Task) -> dict[str, Any]:
        """The document of this moment. One query for all experiments."""
        progress = read_progress(task, self._spec)
        objective = self._spec.objective
        return {
            "task_id": task.pk,
            "name": task.name,
            "status": task.status,
            "is_terminal": task.state.is_terminal,
            "status_reason": task.status_reason,
            "cancel_requested": task.cancel_requested_at is not None,
            "created_at": _moment(task.created_at),
            "started_at": _moment(task.started_at),
            "finished_at": _moment(task.finished_at),
            "objective": {"metric": objective.metric, "direction": objective.direction.value},
            "progress": _progress(progress),
            "experiments": [_experiment(one) for one in progress.experiments],
        }


def says_the_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two documents differ in nothing but the ETA, which a page counts down by itself."""
    return _without_eta(one) == _without_eta(other)


def _without_eta(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "progress": {**document["progress"], "eta_s": None}}


def _progress(progress: TaskProgress) -> dict[str, Any]:
    best, running = progress.best, progress.running
    return {
        "finished": progress.finished,
        "total": progress.total,
        "eta_s": None if progress.eta_s is None else round(progress.eta_s, 1),
        "running": None if running is None else running.number,
        "best": None
        if best is None
        else {
            "number": best.number,
            "objective_value": best.objective_value,
            "parameters": best.parameters,
        },
        "gain_over_baseline": progress.gain_over_baseline,
    }


def _experiment(experiment: Experiment) -> dict[str, Any]:
    failure = experiment.failure
    return {
        "number": experiment.number,
        "is_baseline": experiment.is_baseline,
        "status": experiment.status,
        "attempt": experiment.attempt,
        "parameters": experiment.parameters,
        "objective_value": experiment.objective_value,
        "score": experiment.score,
        "failure": None if failure is None else failure.as_document(),
        "started_at": _moment(experiment.started_at),
        "finished_at": _moment(experiment.finished_at),
        "deploy_s": experiment.deploy_s,
        "benchmark_s": experiment.benchmark_s,
        "cleanup_s": experiment.cleanup_s,
    }


def _moment(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
