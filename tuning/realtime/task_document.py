"""A task as a live page shows it, read again and again."""

from __future__ import annotations

from typing import Any

from tuning.documents.task import live_task
from tuning.models import Task
from tuning.progress import read_progress


class TaskDocuments:
    """Documents of one task. Its spec never changes, so it is read once."""

    def __init__(self, task: Task) -> None:
        self._spec = task.parsed_spec()

    def read(self, task: Task) -> dict[str, Any]:
        """The document of this moment. One query for all experiments."""
        return live_task(task, read_progress(task, self._spec)).model_dump(mode="json")


def says_the_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two documents differ in nothing but the ETA, which a page counts down by itself."""
    return _without_eta(one) == _without_eta(other)


def _without_eta(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "progress": {**document["progress"], "eta_s": None}}
