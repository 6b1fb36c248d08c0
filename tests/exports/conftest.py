"""Finished tasks whose flags and names have every value that quoting can go wrong with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import FlagValue
from tuning.models import Task

NASTY_FLAGS: dict[str, FlagValue] = {
    "tensor-parallel-size": 2,
    "spaces": "two words",
    "quotes": 'it\'s "so"',
    "dollar": "$HOME ${x} $(id) $$",
    "json": '{"a": [1, "b"]}',
    "unicode": "naïve ✓",
    "dashes": "--weird",
    "number-like": "1e-07",
    "tiny": 1e-07,
    "negative": -1,
    "switched-on": True,
    "switched-off": False,
    "true-text": "true",
    "empty": "",
}
NASTY_ARGUMENTS = [
    *("--tensor-parallel-size", "2", "--spaces", "two words", "--quotes", 'it\'s "so"'),
    *("--dollar", "$HOME ${x} $(id) $$", "--json", '{"a": [1, "b"]}', "--unicode", "naïve ✓"),
    *("--dashes", "--weird", "--number-like", "1e-07", "--tiny", "1e-07", "--negative", "-1"),
    *("--switched-on", "--true-text", "true", "--empty", ""),
]

VLLM = 1
"""Which of the seeded kinds of tasks is one of vLLM."""


@pytest.fixture
def finished(seeding: Seeding) -> Callable[..., Task]:
    """`finished(sections={"model": …}, parameters={…})`: a completed task whose best experiment
    has those flags."""

    def make(
        kind: int = VLLM,
        parameters: dict[str, FlagValue] | None = None,
        sections: dict[str, Any] | None = None,
    ) -> Task:
        task = Task.objects.get(pk=seeding.task(kind, experiments=4, fate=TaskStatus.COMPLETED))
        task.spec = {**task.spec, **(sections or {})}
        task.save()
        best = task.best_experiment
        if parameters is not None and best is not None:
            best.parameters, best.command = parameters, ["engine", *NASTY_ARGUMENTS]
            best.save()
        return task

    return make
