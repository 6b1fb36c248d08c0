"""Tasks to begin with: the files in examples/."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from django.conf import settings

from tuning.domain.spec import TaskSpec, parse_task


@dataclass(frozen=True)
class Preset:
    """`name` is the file's name without its ending; title and description are the task's own."""

    name: str
    spec: TaskSpec

    @property
    def title(self) -> str:
        return self.spec.task_name

    @property
    def description(self) -> str:
        return self.spec.description


@functools.cache
def presets() -> tuple[Preset, ...]:
    """All of them: those that run here first, then by title.

    Raises:
        InvalidTask: a file in examples/ is wrong.
    """
    files = sorted((settings.BASE_DIR / "examples").glob("*.json"))
    found = [Preset(file.stem, parse_task(file.read_bytes())) for file in files]
    return tuple(sorted(found, key=_order))


def preset(name: str) -> Preset | None:
    return next((one for one in presets() if one.name == name), None)


def _order(one: Preset) -> tuple[bool, str]:
    return one.spec.deployment_mode.value != "local", one.title
