"""A task and its results as files: for programs, for reports, and for deploying the winner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tuning.models import Task


class ExportFormat(StrEnum):
    """How the results of a task can be handed over."""

    JSON = "json"
    CSV = "csv"
    YAML = "yaml"
    HTML = "html"


@dataclass(frozen=True)
class Export:
    content: str
    content_type: str
    filename: str


def export_results(task: Task, form: ExportFormat) -> Export:
    """The task with everything that was measured."""
    raise NotImplementedError
