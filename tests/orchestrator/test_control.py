"""Resuming goes on where a task stopped, and only where that makes sense."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.orchestrator.recording import OWNER, run_next
from tuning.domain.lifecycle import IllegalTransition, TaskStatus
from tuning.models import Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import TaskIsBusy, pause, request_cancel, resume
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


def test_a_resumed_task_keeps_what_was_measured_and_tries_the_rest(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_iterations": 2})
    run_next(task, 5.0)
    run_next(task, 7.0)
    advance(task.pk)
    request_cancel(task.pk)
    assert advance(task.pk).finished
    resume(task.pk)
    assert run_next(task, 6.0).number == 2
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.state is TaskStatus.COMPLETED
    assert [one.objective_value for one in task.experiments.all()] == [5.0, 7.0, 6.0]
    assert [one.attempt for one in task.experiments.all()] == [1, 1, 1]


def test_a_configuration_that_failed_by_itself_is_not_launched_again(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_iterations": 1})
    run_next(task, None)
    run_next(task, None)
    advance(task.pk)
    resume(task.pk)
    assert advance(task.pk).finished


def test_a_missing_model_is_looked_for_again(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_iterations": 1})
    run_next(task, None, failure_kind="model_missing", failure_message="No file.")
    assert advance(task.pk).finished
    resume(task.pk)
    assert run_next(task, 1.0).is_baseline


def test_a_completed_task_has_nothing_to_resume(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_iterations": 1})
    run_next(task, 1.0)
    run_next(task, 2.0)
    advance(task.pk)
    with pytest.raises(IllegalTransition):
        resume(task.pk)


def test_a_task_that_runs_is_left_to_its_worker(make_task: MakeTask) -> None:
    task = make_task()
    claim(advance(task.pk).ready[0], OWNER)
    with pytest.raises(TaskIsBusy, match="elsewhere"):
        resume(task.pk)


def test_a_second_cancel_says_that_it_changed_nothing(make_task: MakeTask) -> None:
    task = make_task()
    assert request_cancel(task.pk)
    assert not request_cancel(task.pk)


def test_a_paused_task_queues_nothing_until_it_is_resumed(make_task: MakeTask) -> None:
    task = make_task()
    run_next(task, 1.0)
    assert pause(task.pk)
    assert not pause(task.pk)
    step = advance(task.pk)
    assert (step.ready, step.finished) == ((), False)
    resume(task.pk)
    assert run_next(task, 2.0).number == 1


def test_a_paused_task_can_be_cancelled(make_task: MakeTask) -> None:
    task = make_task()
    run_next(task, 1.0)
    pause(task.pk)
    request_cancel(task.pk)
    assert advance(task.pk).finished
