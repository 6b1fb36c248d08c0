"""The whole report as one document: the task, what it asked for, and all that was measured."""

from __future__ import annotations

import json
from typing import Any

from tuning.exports.export import JSON_TYPE, YAML_TYPE, Export, filename
from tuning.exports.yaml_text import to_yaml
from tuning.models import Task
from tuning.reports import as_document, task_report


def results_document(task: Task) -> dict[str, Any]:
    """Times are seconds, throughputs tokens/s. Without what only means something on this host."""
    report = task_report(task)
    document = as_document(report)
    del document["log_file"]
    return {
        **document,
        "created_at": task.created_at.isoformat(),
        "started_at": task.started_at and task.started_at.isoformat(),
        "finished_at": task.finished_at and task.finished_at.isoformat(),
        "spec": report.spec.to_document(),
    }


def results_as_json(task: Task) -> Export:
    text = json.dumps(results_document(task), indent=2, ensure_ascii=False)
    return Export(f"{text}\n", JSON_TYPE, filename(task, "results", "json"))


def results_as_yaml(task: Task) -> Export:
    text = to_yaml(results_document(task))
    return Export(text, YAML_TYPE, filename(task, "results", "yaml"))
