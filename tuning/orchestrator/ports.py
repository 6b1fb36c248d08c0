"""What the orchestrator needs from the outside, handed to it by whoever composes a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controllers.base import Benchmark, Controller, LogSink
from tuning.domain.spec import TaskSpec


class TokenizerUnavailable(Exception):
    """Raised by `Ports.tokenizer_for` with a sentence for the user."""


def _ignore_progress(experiment_id: int, phase: str) -> None:
    """Nobody watches."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Ports:
    """The world outside the database.

    `tokenizer_for` names the tokenizer genai-bench counts tokens with: a directory or a hub id.
    `on_progress` is told what an experiment does now, in words for people.
    `interrupted` says that this process was asked to stop; it is looked at on every tick.
    """

    instance: str
    owner: str
    controller: Controller
    benchmark: Benchmark
    log: LogSink
    results_dir: Path
    tokenizer_for: Callable[[TaskSpec], str]
    on_progress: Callable[[int, str], None] = _ignore_progress
    interrupted: Callable[[], bool] = _never
