"""What every export is made of: text, its type, and the name of a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tuning.exports.names import slug
from tuning.models import Task

LONGEST_SLUG = 60
YAML_TYPE = "application/yaml; charset=utf-8"
JSON_TYPE = "application/json"


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


def filename(task: Task, what: str, ending: str) -> str:
    """`task-17-llama-chat-results.csv`: letters, digits and dashes alone."""
    parts = ("task", str(task.pk), slug(task.name)[:LONGEST_SLUG].strip("-"), what)
    return "-".join(part for part in parts if part) + f".{ending}"
