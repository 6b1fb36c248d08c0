"""What a task would do, before anybody starts it: for the form, the API and the editor tab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuning.domain.spec import InvalidTask, Problem, parse_task


@dataclass(frozen=True)
class Preview:
    """`problems` is empty for a valid task; the rest is only known then.

    `configurations` counts experiments with the baseline, and is a lower bound when
    `is_complete` is False. `estimate_s` is seconds for all of them, `gpus_needed` the most that
    any one configuration takes. The commands are those of the first and the last configuration.
    """

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    configurations: int | None = None
    is_complete: bool = True
    estimate_s: float | None = None
    gpus_needed: int | None = None
    first_command: tuple[str, ...] | None = None
    last_command: tuple[str, ...] | None = None


def preview_task(document: str | bytes | Mapping[str, Any]) -> Preview:
    """Never raises for a document that is wrong: that is what it is there to say."""
    try:
        parse_task(document)
    except InvalidTask as invalid:
        return Preview(problems=invalid.problems)
    return Preview()
