"""How long tasks take when several of their experiments go side by side."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.domain.task_files import minimal_task, spec_of
from tests.orchestrator.accelerators import live_worker
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.measuring.goodput import MOST_PROBES
from tuning.domain.planning import estimate_experiment_s, may_leave_out_loads, most_load_points
from tuning.estimates import Capacity, estimated_total_s
from tuning.models import Experiment, Task
from tuning.preview import preview_task
from tuning.progress import Verifying, read_progress, seconds_to_go
from tuning.web.dashboard import read_board
from tuning.web.task_page import TaskPage

pytestmark = pytest.mark.django_db

ON_GPUS = {"base_runtime": "vllm", "deployment_mode": "docker", "model": {"id_or_path": "org/m"}}
TP = "tensor-parallel-size"


@pytest.mark.parametrize(
    ("runs", "at_once", "total_s"), [(1, 1, 10), (7, 1, 70), (7, 2, 40), (7, 8, 10), (0, 2, 0)]
)
def test_experiments_side_by_side_take_as_long_as_one(
    runs: int, at_once: int, total_s: float
) -> None:
    assert estimated_total_s(runs, 10.0, at_once) == total_s


def room_of(here: int, *workers: int) -> Capacity:
    return Capacity(lambda: here, lambda: workers)


@pytest.mark.parametrize(
    ("here", "workers", "sections", "at_once"),
    [
        # No cards are taken: one at a time, or as many as the task says.
        (8, (), {}, 1),
        (0, (), {"optimization": {"max_parallel": 3}}, 3),
        (8, (8,), {"optimization": {"max_parallel": 3}}, 3),
        # As many as the cards hold, of the baseline.
        (8, (), ON_GPUS | {"parameters": {TP: 2, "seed": [1, 2]}}, 4),
        (8, (), ON_GPUS | {"parameters": {TP: [2, 4]}}, 8),
        (0, (8, 5), ON_GPUS | {"parameters": {TP: 4, "seed": [1, 2]}}, 3),
        (2, (8, 8), ON_GPUS | {"parameters": {"seed": [1, 2]}}, 16),
        # The smaller of both.
        (8, (), ON_GPUS | {"optimization": {"max_parallel": 3}}, 3),
        (2, (), ON_GPUS | {"optimization": {"max_parallel": 3}}, 2),
        (1, (), ON_GPUS | {"parameters": {TP: 4, "seed": [1, 2]}}, 1),
        # No GPU is known of: what the task says.
        (0, (), ON_GPUS | {"optimization": {"max_parallel": 3}}, 3),
        (8, (8,), ON_GPUS | {"deployment_mode": "ome"}, 1),
    ],
)
def test_as_many_go_side_by_side_as_there_is_room_for(
    here: int, workers: tuple[int, ...], sections: dict[str, Any], at_once: int
) -> None:
    assert room_of(here, *workers).runs_at_once(spec_of(**sections)) == at_once


def test_a_task_with_a_driver_has_its_own_host_alone() -> None:
    capacity, spec = room_of(2, 8), spec_of(**ON_GPUS)
    assert capacity.runs_at_once(spec) == 8
    assert capacity.runs_at_once(spec, driver="here/1/1.00") == 2


def test_hosts_are_those_of_live_workers() -> None:
    spec = spec_of(**ON_GPUS)
    assert Capacity().runs_at_once(spec) == 1
    live_worker("a", gpus=4)
    live_worker("b", gpus=2)
    assert Capacity().runs_at_once(spec) == 6


def test_hosts_are_looked_at_once_and_only_for_tasks_that_take_gpus(
    django_assert_num_queries: Any,
) -> None:
    live_worker(gpus=4)
    capacity = Capacity()
    with django_assert_num_queries(0):
        assert capacity.runs_at_once(spec_of()) == 1
    with django_assert_num_queries(1):
        assert [capacity.runs_at_once(spec_of(**ON_GPUS)) for _ in range(3)] == [4, 4, 4]


def test_a_preview_counts_on_the_cards_of_live_workers() -> None:
    document = minimal_task(
        **ON_GPUS, parameters={"seed": list(range(1, 8))}, optimization={"verification": 0}
    )
    alone = preview_task(document).estimate_s
    live_worker(gpus=4)
    together = preview_task(document).estimate_s
    assert alone is not None
    # Eight with the baseline, in two rounds.
    assert together == pytest.approx(alone / 8 * 2)


# --- How long is still to go ---


def ago(*seconds: float) -> list[Any]:
    now = timezone.now()
    return [now - timedelta(seconds=one) for one in seconds]


@pytest.mark.parametrize(
    ("left", "running_s", "at_once", "to_go_s"),
    [
        (3, (), 1, 300),
        (3, (40,), 1, 260),
        (1, (40,), 1, 60),
        # One that takes longer than the others may end at any moment.
        (1, (900,), 1, 0),
        (2, (900,), 1, 100),
        # Four and four and one.
        (9, (), 4, 300),
        (8, (), 4, 200),
        # Two run; two free places take two more at once, and the last waits for the first end.
        (5, (70, 20), 4, 130),
        (4, (70, 20), 4, 100),
        (2, (70, 20), 4, 80),
        # More run than was expected to.
        (4, (50, 20, 0), 1, 150),
        (0, (), 4, 0),
    ],
)
def test_what_is_still_to_go(
    left: int, running_s: tuple[float, ...], at_once: int, to_go_s: float
) -> None:
    found = seconds_to_go(left, 100.0, ago(*running_s), at_once)
    assert found == pytest.approx(to_go_s, abs=2)


@pytest.mark.parametrize(
    ("left", "running_s", "whole_s", "to_go_s"),
    [
        # Two side by side, then four in turn.
        (6, (), 100.0, 100 + 400),
        # The search stops early, which verification never does.
        (6, (), 300.0, 100 + 1200),
        (6, (30, 60), 300.0, 70 + 1200),
        # The search is over, and the second of the four runs.
        (3, (40,), 300.0, 3 * 300 - 40),
        (1, (400,), 300.0, 0),
        # Nothing was measured whole yet.
        (6, (), None, 100 + 400),
        (0, (), 300.0, 0),
    ],
)
def test_verification_is_still_to_go_one_after_the_other(
    left: int, running_s: tuple[float, ...], whole_s: float | None, to_go_s: float
) -> None:
    found = seconds_to_go(left, 100.0, ago(*running_s), 2, Verifying(4, whole_s))
    assert found == pytest.approx(to_go_s, abs=2)


def test_goodput_is_estimated_by_its_probes() -> None:
    slo = {"slo": {"ttft_p99_s": 0.5}}
    both_ends = {"num_concurrency": [1, 64], "repeats": 3}
    probed = spec_of(**slo, optimization={"objective": "maximize_goodput"}, benchmark=both_ends)
    measured = spec_of(**slo, benchmark={**both_ends, "repeats": 1})

    assert most_load_points(measured) == 2
    assert most_load_points(probed) == MOST_PROBES
    assert may_leave_out_loads(probed)
    lowest = estimate_experiment_s(spec_of(**slo, benchmark={"num_concurrency": [1], "repeats": 1}))
    assert estimate_experiment_s(measured) < estimate_experiment_s(probed) < MOST_PROBES * lowest


def test_before_the_first_end_nobody_knows() -> None:
    assert seconds_to_go(3, None, ago(5), 2) is None


def test_an_unreadable_future_is_never_negative() -> None:
    assert seconds_to_go(1, 100.0, ago(-50), 1) == pytest.approx(150, abs=2)


@pytest.fixture
def running(seeding: Seeding) -> Task:
    """Four experiments of 100 s are done, one has begun, and ten are planned."""
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.RUNNING, experiments=6))
    now = timezone.now()
    for number, one in enumerate(task.experiments.order_by("number")):
        if number < 4:
            start = now - timedelta(seconds=1000 - number)
            ended = {"started_at": start, "finished_at": start + timedelta(seconds=100)}
            fields: dict[str, Any] = {"status": "FAILED", "failure_kind": "crashed"} | ended
        elif number == 4:
            fields = {"status": "DEPLOYING", "failure_kind": "", "attempt": 1}
            fields |= {"started_at": now, "finished_at": None}
        else:
            fields = {"status": "PENDING", "failure_kind": "", "started_at": None}
            fields |= {"finished_at": None}
        Experiment.objects.filter(pk=one.pk).update(**fields)
    total = task.experiments.count()
    document = {**task.spec, "optimization": {**task.spec["optimization"], "max_parallel": 3}}
    Task.objects.filter(pk=task.pk).update(planned_experiments=total + 3, spec=document)
    task.refresh_from_db()
    return task


def test_every_page_says_the_same(running: Task) -> None:
    parsed: Callable[[], Any] = running.parsed_spec
    left = read_progress(running, parsed()).total - 4
    rounds = -(-left // 3)
    assert rounds > 1
    live_worker(gpus=8)
    expected = pytest.approx(rounds * 100, abs=3)
    assert read_progress(running, parsed()).eta_s == expected
    assert running.owner is not None
    assert TaskPage(running, running.owner, {}).progress.eta_s == expected
    (shown,) = read_board(running.owner).running
    assert shown.eta_s == expected
