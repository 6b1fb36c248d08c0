"""The state machines of tasks and experiments, also under thousands of random histories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import (
    MAX_RETRIES,
    ExperimentEvent,
    ExperimentStatus,
    IllegalTransition,
    TaskEvent,
    TaskStatus,
    after_failure,
    next_status,
    sources_of,
    target_of,
)

EXPERIMENT_ARROWS = {
    ("PENDING", "CLAIMED", "DEPLOYING"),
    ("DEPLOYING", "ENGINE_READY", "BENCHMARKING"),
    ("BENCHMARKING", "MEASURED", "SUCCESS"),
    ("BENCHMARKING", "PRUNED", "PRUNED"),
    ("DEPLOYING", "FAILED", "FAILED"),
    ("BENCHMARKING", "FAILED", "FAILED"),
    ("PENDING", "CANCELLED", "CANCELLED"),
    ("DEPLOYING", "CANCELLED", "CANCELLED"),
    ("BENCHMARKING", "CANCELLED", "CANCELLED"),
    ("DEPLOYING", "ABANDONED", "PENDING"),
    ("BENCHMARKING", "ABANDONED", "PENDING"),
    ("CANCELLED", "REOPENED", "PENDING"),
    ("FAILED", "REOPENED", "PENDING"),
}

TASK_ARROWS = {
    ("DRAFT", "QUEUED", "PENDING"),
    ("PENDING", "STARTED", "RUNNING"),
    ("RUNNING", "PAUSED", "PAUSED"),
    ("PAUSED", "RESUMED", "RUNNING"),
    ("CANCELLED", "RESUMED", "RUNNING"),
    ("FAILED", "RESUMED", "RUNNING"),
    ("RUNNING", "FINISHED", "COMPLETED"),
    ("RUNNING", "FAILED", "FAILED"),
    ("PENDING", "CANCELLED", "CANCELLED"),
    ("RUNNING", "CANCELLED", "CANCELLED"),
    ("PAUSED", "CANCELLED", "CANCELLED"),
}


def test_an_experiment_moves_along_these_arrows_and_no_others() -> None:
    arrows = {
        (source.value, event.value, target_of(event).value)
        for event in ExperimentEvent
        for source in sources_of(event)
    }
    assert arrows == EXPERIMENT_ARROWS


def test_a_task_moves_along_these_arrows_and_no_others() -> None:
    arrows = {
        (source.value, event.value, target_of(event).value)
        for event in TaskEvent
        for source in sources_of(event)
    }
    assert arrows == TASK_ARROWS


@settings(max_examples=3_000)
@given(st.lists(st.sampled_from(ExperimentEvent), max_size=30))
def test_no_history_takes_an_experiment_past_its_phases(events: list[ExperimentEvent]) -> None:
    status = ExperimentStatus.PENDING
    for event in events:
        before = status
        try:
            status = next_status(before, event)
        except IllegalTransition:
            assert before not in sources_of(event)
            continue
        if status is ExperimentStatus.SUCCESS:
            assert before is ExperimentStatus.BENCHMARKING
        if before.is_terminal:
            assert before in {ExperimentStatus.CANCELLED, ExperimentStatus.FAILED}
            assert status is ExperimentStatus.PENDING
        assert not (status.is_terminal and status.is_running)


@settings(max_examples=3_000)
@given(st.lists(st.sampled_from(TaskEvent), max_size=30))
def test_a_completed_task_stays_completed_in_every_history(events: list[TaskEvent]) -> None:
    status = TaskStatus.PENDING
    for event in events:
        before = status
        try:
            status = next_status(before, event)
        except IllegalTransition:
            assert before not in sources_of(event)
            continue
        assert before is not TaskStatus.COMPLETED
        if before.is_terminal:
            assert event is TaskEvent.RESUMED


def test_an_illegal_transition_names_status_and_event() -> None:
    with pytest.raises(IllegalTransition, match=r"A task that is COMPLETED .* RESUMED"):
        next_status(TaskStatus.COMPLETED, TaskEvent.RESUMED)


def test_running_and_terminal_statuses() -> None:
    running = {status for status in ExperimentStatus if status.is_running}
    waiting = {status for status in ExperimentStatus if not status.is_terminal} - running
    assert running == {ExperimentStatus.DEPLOYING, ExperimentStatus.BENCHMARKING}
    assert waiting == {ExperimentStatus.PENDING}
    assert {status for status in TaskStatus if not status.is_terminal} == {
        TaskStatus.DRAFT,
        TaskStatus.PENDING,
        TaskStatus.RUNNING,
        TaskStatus.PAUSED,
    }


@pytest.mark.parametrize("kind", FailureKind)
def test_only_faults_of_the_infrastructure_are_retried_and_only_so_often(kind: FailureKind) -> None:
    decisions = [after_failure(kind, attempt) for attempt in range(1, MAX_RETRIES + 3)]
    retries = decisions.count(ExperimentEvent.ABANDONED)
    assert retries == (MAX_RETRIES if kind.is_infrastructure_fault else 0)
    assert set(decisions[retries:]) == {ExperimentEvent.FAILED}
