"""Once everything was tried: contenders are repeated, then winner and baseline measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from tests.orchestrator.accelerators import FakeHost, live_worker
from tests.orchestrator.recording import OWNER, run_next
from tests.orchestrator.test_parallel import Engines, measuring
from tuning.domain.lifecycle import ExperimentEvent, ExperimentPurpose, TaskStatus
from tuning.domain.verdict import Finding, GainVerdict, Reference
from tuning.housekeeping import delete_task
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import request_cancel, resume
from tuning.orchestrator.drive import drive
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]

SEARCHED = {(None, None): 10.0, (1, 1): 11.0, (1, 4): 30.0, (2, 1): 12.0, (2, 4): 13.0}
"""What each configuration of the small task gives, the baseline first; number 2 wins."""


def verified_task(make_task: MakeTask, rounds: int = 2, **optimization: Any) -> Task:
    return make_task(optimization={"verification": rounds, **optimization})


def key_of(experiment: Experiment) -> tuple[Any, Any]:
    return experiment.parameters.get("threads"), experiment.parameters.get("parallel")


def search(task: Task, values: Mapping[Any, float | None] = SEARCHED) -> None:
    """Run all that the search proposes."""
    while True:
        step = advance(task.pk)
        queued = Experiment.objects.filter(pk__in=step.ready)
        if not queued or not all(one.is_first_launch for one in queued):
            return
        run_next(task, values[key_of(queued[0])])


def launched_again(task: Task, values: list[float | None]) -> list[tuple[int, int]]:
    """Run so many further launches; of which original and in which round each was."""
    order = []
    for value in values:
        experiment = run_next(task, value)
        assert experiment.original is not None
        assert experiment.round is not None
        assert experiment.parameters == experiment.original.parameters
        order.append((experiment.original.number, experiment.round))
    return order


def verdict_of(task: Task) -> GainVerdict:
    task.refresh_from_db()
    (verdict,) = task.verdicts
    return GainVerdict.of_document(verdict)


# --- Verification ---


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


# --- The same hardware ---


def test_what_was_begun_on_a_host_goes_on_there(make_task: MakeTask) -> None:
    live_worker("elsewhere", gpus=0)
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0])
    (second,) = advance(task.pk).ready

    assert claim(second, "other/1/1.00") is None
    assert Experiment.objects.get(pk=second).only_on == "elsewhere"
    assert claim(second, OWNER) is not None


def test_a_host_without_a_worker_is_not_waited_for(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0])
    advance(task.pk)
    (second,) = advance(task.pk).ready

    lease = claim(second, "other/1/1.00")
    assert lease is not None
    lease.move(ExperimentEvent.ENGINE_READY)
    lease.end(
        ExperimentEvent.MEASURED, objective_value=10.0, score=10.0, finished_at=timezone.now()
    )
    live_worker("elsewhere", gpus=0)
    launched_again(task, [10.0, 30.0])
    assert advance(task.pk).finished
    assert "2 hosts" in verdict_of(task).reason


# --- Repeats where they matter ---


CLOSE = {(None, None): 10.0, (1, 1): 11.0, (1, 4): 30.0, (2, 1): 12.0, (2, 4): 29.0}
"""Numbers 2 and 4 are too close to tell them apart by one launch each."""


def automatic_task(make_task: MakeTask, **optimization: Any) -> Task:
    return make_task(benchmark={"repeats": "auto"}, optimization=optimization)


def test_contenders_are_launched_again_and_the_better_one_wins(make_task: MakeTask) -> None:
    task = automatic_task(make_task)
    search(task, CLOSE)

    # Number 2 was lucky.
    order = launched_again(task, [27.0, 29.1, 29.0, 27.1])

    assert order == [(2, 1), (4, 1), (4, 2), (2, 2)]
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.best_experiment is not None
    assert task.best_experiment.number == 4
    assert {one.purpose for one in task.experiments.filter(number__gt=4)} == {"repeat"}


def test_no_repeats_where_one_stands_out(make_task: MakeTask) -> None:
    task = automatic_task(make_task)
    search(task, SEARCHED)

    assert advance(task.pk).finished
    assert task.experiments.count() == 5


def test_contenders_run_side_by_side_as_the_search_does(make_task: MakeTask) -> None:
    task = automatic_task(make_task)
    search(task, CLOSE)
    Experiment.objects.filter(task=task, original__isnull=False).delete()
    Task.objects.filter(pk=task.pk).update(
        spec={**task.spec, "optimization": {**task.spec["optimization"], "max_parallel": 2}}
    )

    queued = Experiment.objects.filter(pk__in=advance(task.pk).ready)
    assert [one.original.number for one in queued if one.original] == [2, 4]


def test_a_contender_that_fails_again_is_out(make_task: MakeTask) -> None:
    task = automatic_task(make_task)
    search(task, CLOSE)
    launched_again(task, [None])

    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.best_experiment is not None
    assert task.best_experiment.number == 4


def test_while_they_are_repeated_the_best_so_far_is_by_all_launches(make_task: MakeTask) -> None:
    task = automatic_task(make_task)
    search(task, CLOSE)
    launched_again(task, [25.0, 29.1])
    advance(task.pk)
    task.refresh_from_db()

    assert task.state is TaskStatus.RUNNING
    assert task.best_experiment is not None
    assert task.best_experiment.number == 4
    listed = Task.objects.with_best().get(pk=task.pk)
    assert vars(listed)["best_id"] == task.best_experiment_id


def test_repeats_come_before_verification(make_task: MakeTask) -> None:
    task = automatic_task(make_task, verification=2)
    search(task, CLOSE)
    launched_again(task, [25.0, 29.1])
    while (again := Experiment.objects.get(pk=advance(task.pk).ready[0])).why is (
        ExperimentPurpose.REPEAT
    ):
        run_next(task, 25.0 if key_of(again) == (1, 4) else 29.0)

    assert launched_again(task, [29.0, 10.0, 10.0, 29.0]) == [(4, 1), (0, 1), (0, 2), (4, 2)]
    assert advance(task.pk).finished
    assert verdict_of(task).finding is Finding.BETTER


# --- All of it by one process ---


@pytest.mark.django_db(transaction=True)
def test_a_process_verifies_what_it_has_found(make_task: MakeTask) -> None:
    task = make_task(
        benchmark={"repeats": "auto"}, optimization={"verification": 2, "baseline": False}
    )
    host = FakeHost(gpus=0)
    engines = Engines(host)
    drive(task.pk, measuring(host, engines))

    assert verdict_of(task).finding is Finding.NO_DIFFERENCE, "every engine gives 50 tokens/s"
    assert task.state is TaskStatus.COMPLETED
    purposes = list(task.experiments.values_list("purpose", flat=True))
    assert purposes == ["search"] * 4 + ["repeat"] * 8 + ["verification"] * 4
    assert engines.most_at_once == 1
    assert engines.up == {}
    assert {one.host for one in task.experiments.all()} != {""}
