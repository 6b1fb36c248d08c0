"""What the orchestrator needs from the outside, handed to it by whoever composes a run."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from controllers.base import Benchmark, Controller, GpuWatch, HostCards, LogSink
from tuning.domain.names import FlagValue
from tuning.domain.spec import TaskSpec


class TokenizerUnavailable(Exception):
    """Raised by `Ports.tokenizer_for` with a sentence for the user."""


class Accelerators(Protocol):
    """The GPUs of this host, and what engines take of them."""

    def needed(self, spec: TaskSpec, parameters: Mapping[str, FlagValue]) -> int:
        """How many GPUs an engine with these flags takes, by the engine's own rule."""
        ...

    def can_do_without(self, spec: TaskSpec) -> bool:
        """Whether an engine that would take GPUs also serves where there are none."""
        ...

    def fits(
        self, spec: TaskSpec, parameters: Mapping[str, FlagValue], cards_mib: Sequence[float]
    ) -> bool:
        """False where the model is surely too big for cards of these sizes, in MiB."""
        ...

    def cards(self) -> HostCards:
        """As they are now. Takes milliseconds."""
        ...

    def watch(self, gpus: Sequence[int]) -> GpuWatch:
        """Begin to look at some of them."""
        ...


class NoAccelerators:
    """A host without GPUs, and engines that take none."""

    def needed(self, spec: TaskSpec, parameters: Mapping[str, FlagValue]) -> int:
        return 0

    def can_do_without(self, spec: TaskSpec) -> bool:
        return True

    def fits(
        self, spec: TaskSpec, parameters: Mapping[str, FlagValue], cards_mib: Sequence[float]
    ) -> bool:
        return True

    def cards(self) -> HostCards:
        return HostCards(socket.gethostname())

    def watch(self, gpus: Sequence[int]) -> GpuWatch:
        raise ValueError(f"this host has no GPUs {gpus}")


def _ignore_progress(experiment_id: int, phase: str) -> None:
    """Nobody watches."""


def _never() -> bool:
    return False


def _nothing_to_take_back() -> None:
    """Nobody else is here."""


@dataclass(frozen=True)
class Ports:
    """The world outside the database.

    `tokenizer_for` names the tokenizer genai-bench counts tokens with: a directory or a hub id.
    `on_progress` is told what an experiment does now, in words for people.
    `interrupted` says that this process was asked to stop; it is looked at on every tick.
    `take_back` returns what dead workers of this host hold; a process that waits calls it.
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
    accelerators: Accelerators = field(default_factory=NoAccelerators)
    take_back: Callable[[], object] = _nothing_to_take_back
