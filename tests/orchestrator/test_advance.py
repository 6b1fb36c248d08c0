"""`advance` queues the right experiments, chooses the best, and does nothing the second time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.orchestrator.recording import OWNER, run_next
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.domain.spec import parse_task
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import request_cancel, submit
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


def run_all(task: Task, values: list[float | None]) -> list[Experiment]:
    return [run_next(task, value) for value in values]


def test_the_baseline_comes_first_with_none_of_the_tuned_flags(make_task: MakeTask) -> None:
    task = make_task()
    (experiment_id,) = advance(task.pk).ready
    experiment = Experiment.objects.get(pk=experiment_id)
    assert experiment.is_baseline
    assert experiment.parameters == {"ctx-size": 2048}


def test_without_a_baseline_numbers_begin_at_one(make_task: MakeTask) -> None:
    task = make_task(optimization={"baseline": False})
    (experiment_id,) = advance(task.pk).ready
    assert Experiment.objects.get(pk=experiment_id).number == 1


def test_the_whole_grid_is_tried_in_order_and_the_best_wins(make_task: MakeTask) -> None:
    task = make_task()
    run_all(task, [10.0, 11.0, 30.0, 12.0, 13.0])
    assert advance(task.pk).finished
    task.refresh_from_db()
    tried = [
        (experiment.parameters["threads"], experiment.parameters["parallel"])
        for experiment in task.experiments.filter(number__gte=1)
    ]
    assert tried == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert task.state is TaskStatus.COMPLETED
    assert task.best_experiment is not None
    assert task.best_experiment.number == 2


def test_a_minimised_objective_takes_the_lowest(make_task: MakeTask) -> None:
    task = make_task(optimization={"objective": "minimize_latency"})
    run_all(task, [10.0, 11.0, 30.0, 9.0, 13.0])
    advance(task.pk)
    task.refresh_from_db()
    assert task.best_experiment is not None
    assert task.best_experiment.number == 3


def test_calling_it_again_changes_nothing(make_task: MakeTask) -> None:
    task = make_task()
    first = advance(task.pk)
    assert advance(task.pk) == first
    assert task.experiments.count() == 1
    claim(first.ready[0], OWNER)
    assert advance(task.pk).ready == ()
    assert task.experiments.count() == 1


def test_the_baseline_does_not_count_against_max_iterations(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_iterations": 2})
    run_all(task, [1.0, 2.0, 3.0])
    assert advance(task.pk).finished
    assert task.experiments.count() == 3


def test_a_failed_experiment_is_not_tried_again_and_never_best(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_iterations": 2})
    run_all(task, [5.0, None, 4.0])
    advance(task.pk)
    task.refresh_from_db()
    assert task.best_experiment is not None
    assert task.best_experiment.is_baseline
    assert [one.status for one in task.experiments.all()] == ["SUCCESS", "FAILED", "SUCCESS"]


def test_when_nothing_succeeds_the_task_fails_and_says_why(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_iterations": 1})
    run_all(task, [None, None])
    advance(task.pk)
    task.refresh_from_db()
    assert task.state is TaskStatus.FAILED
    assert task.status_reason == "All 2 experiments failed."


def test_a_missing_model_ends_the_task_at_the_first_failure(make_task: MakeTask) -> None:
    task = make_task()
    run_next(task, None, failure_kind="model_missing", failure_message="No file m.gguf.")
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.state is TaskStatus.FAILED
    assert "No file m.gguf." in task.status_reason
    assert task.experiments.count() == 1


def test_a_cancelled_task_queues_nothing_more_and_keeps_its_best(make_task: MakeTask) -> None:
    task = make_task()
    run_all(task, [5.0, 7.0])
    advance(task.pk)
    assert request_cancel(task.pk)
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.state is TaskStatus.CANCELLED
    assert task.best_experiment is not None
    assert task.best_experiment.number == 1
    assert [one.state for one in task.experiments.all()] == [
        ExperimentStatus.SUCCESS,
        ExperimentStatus.SUCCESS,
        ExperimentStatus.CANCELLED,
    ]


def test_a_cancel_waits_for_the_running_experiment(make_task: MakeTask) -> None:
    task = make_task()
    lease = claim(advance(task.pk).ready[0], OWNER)
    assert lease is not None
    request_cancel(task.pk)
    step = advance(task.pk)
    assert not step.finished
    assert step.ready == ()


def test_a_cancelled_task_can_not_be_claimed_from(make_task: MakeTask) -> None:
    task = make_task()
    (experiment_id,) = advance(task.pk).ready
    Task.objects.filter(pk=task.pk).update(cancel_requested_at=timezone.now())
    assert claim(experiment_id, OWNER) is None


def test_a_search_that_finds_nothing_more_ends_with_the_best_so_far(make_task: MakeTask) -> None:
    task = make_task(
        parameters={
            "batch-size": {"type": "int", "low": 1, "high": 1_000_000},
            "ubatch-size": {"type": "int", "low": 1, "high": 1_000_000},
        },
        constraints=["batch-size + ubatch-size <= 3"],
        optimization={"baseline": False},
    )
    run_all(task, [1.0, 2.0])
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.state is TaskStatus.COMPLETED
    assert task.best_experiment is not None
    assert task.best_experiment.parameters["ubatch-size"] == 2
    assert "batch-size + ubatch-size <= 3" in task.status_reason


def test_only_so_many_tasks_run_at_once(make_task: MakeTask) -> None:
    first, second = make_task(), make_task()
    assert advance(first.pk, max_running=1).ready
    waiting = advance(second.pk, max_running=1)
    assert not waiting.ready
    assert not waiting.finished
    request_cancel(first.pk)
    assert advance(first.pk).finished
    assert advance(second.pk, max_running=1).ready


def test_a_task_that_a_process_runs_by_itself_does_not_count(
    make_task: MakeTask, task_document: dict[str, Any]
) -> None:
    own = submit(parse_task(task_document), driver="here/1/1.00")
    assert advance(own.pk).ready
    assert advance(make_task().pk, max_running=1).ready


def ran(task: Task, number: int, began_s_ago: float, ended_s_ago: float) -> None:
    now = timezone.now()
    task.experiments.filter(number=number).update(
        started_at=now - timedelta(seconds=began_s_ago),
        finished_at=now - timedelta(seconds=ended_s_ago),
    )


def test_a_task_over_its_time_is_stopped_and_keeps_its_best(make_task: MakeTask) -> None:
    task = make_task()
    run_all(task, [5.0, 6.0])
    Task.objects.filter(pk=task.pk).update(
        time_limit_s=60, started_at=timezone.now() - timedelta(hours=9)
    )
    # Side by side for half of their time: 40 s in all.
    ran(task, number=0, began_s_ago=100, ended_s_ago=80)
    ran(task, number=1, began_s_ago=90, ended_s_ago=60)
    assert not advance(task.pk).finished
    ran(task, number=1, began_s_ago=90, ended_s_ago=30)
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.state is TaskStatus.CANCELLED
    assert task.status_reason == "Stopped at its time limit of 60 s."
    assert task.best_experiment is not None
