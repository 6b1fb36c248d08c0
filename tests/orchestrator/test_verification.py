"""Once all was tried, winner and baseline are measured in turn, and the verdict is stored."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from tests.orchestrator.launches import (
    SEARCHED,
    MakeTask,
    key_of,
    launched_again,
    search,
    verdict_of,
    verified_task,
)
from tests.orchestrator.recording import run_next
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.verdict import Finding, Reference
from tuning.housekeeping import delete_task
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import request_cancel, resume

pytestmark = pytest.mark.django_db


def test_winner_and_baseline_are_measured_in_turn_and_the_verdict_is_stored(
    make_task: MakeTask,
) -> None:
    task = verified_task(make_task, rounds=3)
    search(task)

    order = launched_again(task, [29.0, 10.1, 10.0, 28.5, 28.9, 10.05])

    assert order == [(2, 1), (0, 1), (0, 2), (2, 2), (2, 3), (0, 3)]
    assert advance(task.pk).finished
    verdict = verdict_of(task)
    assert task.state is TaskStatus.COMPLETED
    assert task.best_experiment is not None
    assert task.best_experiment.number == 2
    assert verdict.finding is Finding.BETTER
    assert (verdict.number, verdict.against, verdict.against_number) == (2, Reference.BASELINE, 0)
    assert verdict.gain == pytest.approx(1.86, abs=0.03), "of the rounds, not of the search"
    assert verdict.rounds == 3


def test_one_at_a_time_also_where_more_would_fit(make_task: MakeTask) -> None:
    task = verified_task(make_task, max_parallel=1)
    search(task)
    Task.objects.filter(pk=task.pk).update(
        spec={**task.spec, "optimization": {**task.spec["optimization"], "max_parallel": 4}}
    )

    assert len(advance(task.pk).ready) == 1
    assert len(advance(task.pk).ready) == 1


def test_a_second_look_queues_nothing_twice(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    (first,) = advance(task.pk).ready
    count = task.experiments.count()

    assert advance(task.pk).ready == (first,)
    assert task.experiments.count() == count
    again = Experiment.objects.get(pk=first)
    again.pk, again.number = None, 99
    with pytest.raises(IntegrityError), transaction.atomic():
        again.save(force_insert=True)


def test_a_winner_that_is_worse_makes_room_for_the_baseline(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [8.0, 10.0, 10.0, 8.0])

    assert advance(task.pk).finished
    assert verdict_of(task).finding is Finding.WORSE
    assert task.best_experiment is not None
    assert task.best_experiment.is_baseline
    assert "Experiment 2 looked best in the search" in task.status_reason


def test_no_difference_keeps_the_winner_and_says_so(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [10.0, 10.1, 10.0, 10.1])

    assert advance(task.pk).finished
    assert verdict_of(task).finding is Finding.NO_DIFFERENCE
    assert task.best_experiment is not None
    assert task.best_experiment.number == 2


def test_a_winner_that_fails_again_is_unstable_and_not_launched_any_more(
    make_task: MakeTask,
) -> None:
    task = verified_task(make_task, rounds=3)
    search(task)
    launched_again(task, [30.0, 10.0, 10.0, None])

    assert advance(task.pk).finished
    verdict = verdict_of(task)
    assert verdict.finding is Finding.UNSTABLE
    assert "round 2" in verdict.reason
    assert "crashed" in verdict.reason


def test_a_lost_worker_is_not_held_against_the_winner(make_task: MakeTask) -> None:
    task = verified_task(make_task, rounds=3)
    search(task)
    launched_again(task, [30.0, 10.0, 10.0])
    run_next(task, None, failure_kind="lost_worker", failure_message="Gone.")
    launched_again(task, [30.0, 10.0])

    assert advance(task.pk).finished
    verdict = verdict_of(task)
    assert verdict.finding is Finding.BETTER
    assert verdict.rounds == 2


def test_without_a_baseline_it_is_the_runner_up(make_task: MakeTask) -> None:
    task = verified_task(make_task, baseline=False)
    search(task)

    assert launched_again(task, [30.0, 13.0, 13.0, 30.1]) == [(2, 1), (4, 1), (4, 2), (2, 2)]
    assert advance(task.pk).finished
    verdict = verdict_of(task)
    assert (verdict.against, verdict.against_number) == (Reference.RUNNER_UP, 4)


def test_a_baseline_that_could_not_be_measured_gives_way_to_the_runner_up(
    make_task: MakeTask,
) -> None:
    task = verified_task(make_task)
    search(task, {**SEARCHED, (None, None): None})

    assert launched_again(task, [30.0, 13.0]) == [(2, 1), (4, 1)]


def test_a_baseline_that_only_breaks_an_slo_is_still_compared_with(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    run_next(
        task,
        None,
        failure_kind="slo_violated",
        failure_message="Too slow.",
        objective_value=9.0,
        score=9.0,
    )
    search(task)

    assert launched_again(task, [30.0, None]) == [(2, 1), (0, 1)]


def test_where_the_baseline_wins_there_is_nothing_to_verify(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task, {**SEARCHED, (None, None): 99.0})

    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.verdicts == []
    assert task.experiments.count() == 5


def test_switched_off_it_says_that_nothing_was_verified(make_task: MakeTask) -> None:
    task = verified_task(make_task, rounds=0)
    search(task)

    assert advance(task.pk).finished
    verdict = verdict_of(task)
    assert verdict.finding is Finding.NOT_VERIFIED
    assert verdict.gain == pytest.approx(2.0)
    assert "left out" in verdict.reason


def test_a_cancel_in_between_keeps_the_best_unverified(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0, 10.0])
    advance(task.pk)
    request_cancel(task.pk)

    assert advance(task.pk).finished
    verdict = verdict_of(task)
    assert task.state is TaskStatus.CANCELLED
    assert task.best_experiment is not None
    assert task.best_experiment.number == 2
    assert verdict.finding is Finding.NOT_VERIFIED
    assert "cancelled" in verdict.reason
    assert verdict.gain == pytest.approx(2.0)


def test_a_resumed_task_goes_on_where_it_was(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0, 10.0])
    advance(task.pk)
    request_cancel(task.pk)
    advance(task.pk)
    resumed = resume(task.pk)
    assert resumed.verdicts == []

    assert launched_again(task, [10.0, 30.1]) == [(0, 2), (2, 2)]
    assert advance(task.pk).finished
    assert verdict_of(task).finding is Finding.BETTER


def test_a_verified_task_can_be_deleted(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0, 10.0, 10.0, 30.1])
    advance(task.pk)
    delete_task(task.pk)

    assert not Experiment.objects.exists()


def test_failed_requests_of_the_winner_are_in_the_verdict(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0, 10.0, 10.0, 30.1])
    winners = [one for one in task.experiments.all() if key_of(one) == (1, 4)]
    assert len(winners) == 3
    for one in winners:
        Experiment.objects.filter(pk=one.pk).update(num_requests=100, num_failed_requests=2)
    advance(task.pk)

    assert verdict_of(task).failed_requests == 6


def test_a_search_that_ended_early_still_says_why(make_task: MakeTask) -> None:
    task = make_task(
        parameters={
            "batch-size": {"type": "int", "low": 1, "high": 1_000_000},
            "ubatch-size": {"type": "int", "low": 1, "high": 1_000_000},
        },
        constraints=["batch-size + ubatch-size <= 3"],
        optimization={"baseline": False, "verification": 2},
    )
    for value in (1.0, 2.0, 2.0, 1.0, 1.0, 2.0):
        run_next(task, value)

    assert advance(task.pk).finished
    task.refresh_from_db()
    assert "batch-size + ubatch-size <= 3" in task.status_reason
    assert verdict_of(task).finding is Finding.BETTER
