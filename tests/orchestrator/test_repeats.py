"""Contenders too close to tell apart are launched again before the best of them wins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.orchestrator.launches import (
    SEARCHED,
    MakeTask,
    key_of,
    launched_again,
    search,
    verdict_of,
)
from tests.orchestrator.recording import run_next
from tuning.domain.lifecycle import ExperimentPurpose, TaskStatus
from tuning.domain.verdict import Finding
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance

pytestmark = pytest.mark.django_db

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
