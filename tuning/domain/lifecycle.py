"""The states of a task and of an experiment, and the events that move them.

Each event leads to one status, from a few. The orchestrator makes a conditional UPDATE of that:
`WHERE status IN sources_of(event)`, `SET status = target_of(event)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar, overload

from tuning.domain.failures import FailureKind

MAX_RETRIES = 2
"""How many times an experiment is tried again after a fault that was not its own."""


class TaskStatus(StrEnum):
    """Where a task stands. A DRAFT can still be changed, and nobody runs it."""

    DRAFT = "DRAFT"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """True when nothing happens any more unless a user resumes the task."""
        return self in {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}


class ExperimentStatus(StrEnum):
    """Where an experiment stands."""

    PENDING = "PENDING"
    DEPLOYING = "DEPLOYING"
    BENCHMARKING = "BENCHMARKING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    PRUNED = "PRUNED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """True when nothing happens any more unless its cancelled task is resumed."""
        return not self.is_running and self is not ExperimentStatus.PENDING

    @property
    def is_running(self) -> bool:
        """True while a worker holds a lease on it and an engine may be up."""
        return self in {ExperimentStatus.DEPLOYING, ExperimentStatus.BENCHMARKING}


class ExperimentPurpose(StrEnum):
    """Why a configuration is launched.

    SEARCH and BASELINE try one that was not tried before. REPEAT and VERIFICATION launch one of
    these again: to choose among contenders, and to compare the winner with the baseline.
    """

    SEARCH = "search"
    BASELINE = "baseline"
    REPEAT = "repeat"
    VERIFICATION = "verification"

    @property
    def is_first_launch(self) -> bool:
        """True for what a search may propose and may call the best."""
        return self in {ExperimentPurpose.SEARCH, ExperimentPurpose.BASELINE}


class TaskEvent(StrEnum):
    """What can happen to a task."""

    QUEUED = "QUEUED"
    STARTED = "STARTED"
    PAUSED = "PAUSED"
    RESUMED = "RESUMED"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ExperimentEvent(StrEnum):
    """What can happen to an experiment.

    ABANDONED puts it back for another attempt. REOPENED does the same for a cancelled experiment
    whose task is resumed.
    """

    CLAIMED = "CLAIMED"
    ENGINE_READY = "ENGINE_READY"
    MEASURED = "MEASURED"
    FAILED = "FAILED"
    PRUNED = "PRUNED"
    CANCELLED = "CANCELLED"
    ABANDONED = "ABANDONED"
    REOPENED = "REOPENED"


Status = TypeVar("Status", TaskStatus, ExperimentStatus)


@dataclass(frozen=True)
class _Transition(Generic[Status]):
    sources: frozenset[Status]
    target: Status


class IllegalTransition(Exception):
    """Raised when an event does not apply to the current status."""

    def __init__(
        self, current: TaskStatus | ExperimentStatus, event: TaskEvent | ExperimentEvent
    ) -> None:
        subject = "A task" if isinstance(current, TaskStatus) else "An experiment"
        super().__init__(f"{subject} that is {current} can't take the event {event}.")
        self.current = current
        self.event = event


_TASK_TRANSITIONS: Mapping[TaskEvent, _Transition[TaskStatus]] = {
    TaskEvent.QUEUED: _Transition(frozenset({TaskStatus.DRAFT}), TaskStatus.PENDING),
    TaskEvent.STARTED: _Transition(frozenset({TaskStatus.PENDING}), TaskStatus.RUNNING),
    TaskEvent.PAUSED: _Transition(frozenset({TaskStatus.RUNNING}), TaskStatus.PAUSED),
    # A COMPLETED task can't be resumed: there is nothing left to do in it.
    TaskEvent.RESUMED: _Transition(
        frozenset({TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.FAILED}),
        TaskStatus.RUNNING,
    ),
    TaskEvent.FINISHED: _Transition(frozenset({TaskStatus.RUNNING}), TaskStatus.COMPLETED),
    TaskEvent.FAILED: _Transition(frozenset({TaskStatus.RUNNING}), TaskStatus.FAILED),
    TaskEvent.CANCELLED: _Transition(
        frozenset({TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.PAUSED}),
        TaskStatus.CANCELLED,
    ),
}

_IN_A_WORKER = frozenset({ExperimentStatus.DEPLOYING, ExperimentStatus.BENCHMARKING})

_EXPERIMENT_TRANSITIONS: Mapping[ExperimentEvent, _Transition[ExperimentStatus]] = {
    ExperimentEvent.CLAIMED: _Transition(
        frozenset({ExperimentStatus.PENDING}), ExperimentStatus.DEPLOYING
    ),
    ExperimentEvent.ENGINE_READY: _Transition(
        frozenset({ExperimentStatus.DEPLOYING}), ExperimentStatus.BENCHMARKING
    ),
    ExperimentEvent.MEASURED: _Transition(
        frozenset({ExperimentStatus.BENCHMARKING}), ExperimentStatus.SUCCESS
    ),
    ExperimentEvent.FAILED: _Transition(_IN_A_WORKER, ExperimentStatus.FAILED),
    ExperimentEvent.PRUNED: _Transition(
        frozenset({ExperimentStatus.BENCHMARKING}), ExperimentStatus.PRUNED
    ),
    ExperimentEvent.CANCELLED: _Transition(
        _IN_A_WORKER | {ExperimentStatus.PENDING}, ExperimentStatus.CANCELLED
    ),
    ExperimentEvent.ABANDONED: _Transition(_IN_A_WORKER, ExperimentStatus.PENDING),
    ExperimentEvent.REOPENED: _Transition(
        frozenset({ExperimentStatus.CANCELLED, ExperimentStatus.FAILED}), ExperimentStatus.PENDING
    ),
}


@overload
def sources_of(event: TaskEvent) -> frozenset[TaskStatus]: ...
@overload
def sources_of(event: ExperimentEvent) -> frozenset[ExperimentStatus]: ...
def sources_of(
    event: TaskEvent | ExperimentEvent,
) -> frozenset[TaskStatus] | frozenset[ExperimentStatus]:
    """The statuses in which the event is legal."""
    if isinstance(event, TaskEvent):
        return _TASK_TRANSITIONS[event].sources
    return _EXPERIMENT_TRANSITIONS[event].sources


@overload
def target_of(event: TaskEvent) -> TaskStatus: ...
@overload
def target_of(event: ExperimentEvent) -> ExperimentStatus: ...
def target_of(event: TaskEvent | ExperimentEvent) -> TaskStatus | ExperimentStatus:
    """The status to which the event leads."""
    if isinstance(event, TaskEvent):
        return _TASK_TRANSITIONS[event].target
    return _EXPERIMENT_TRANSITIONS[event].target


@overload
def next_status(current: TaskStatus, event: TaskEvent) -> TaskStatus: ...
@overload
def next_status(current: ExperimentStatus, event: ExperimentEvent) -> ExperimentStatus: ...
def next_status(
    current: TaskStatus | ExperimentStatus, event: TaskEvent | ExperimentEvent
) -> TaskStatus | ExperimentStatus:
    """The status after the event.

    Raises:
        IllegalTransition: the event does not apply to `current`.
    """
    if current not in sources_of(event):
        raise IllegalTransition(current, event)
    return target_of(event)


def after_failure(kind: FailureKind, attempt: int) -> ExperimentEvent:
    """Whether a failed experiment is tried again (ABANDONED) or has FAILED.

    Only a fault of the infrastructure is worth another attempt: a configuration that fails by
    itself would fail again. `attempt` counts from 1, so an experiment runs at most
    `MAX_RETRIES + 1` times.
    """
    if kind.is_infrastructure_fault and attempt <= MAX_RETRIES:
        return ExperimentEvent.ABANDONED
    return ExperimentEvent.FAILED
