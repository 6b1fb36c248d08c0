"""The numbers that the charts of a task draw."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tuning.domain.importance import Group
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.objectives import MeasuredPoint, metric_objective, values_of
from tuning.web.charts.history import best_so_far
from tuning.web.charts.load_points import Point, curves_of, reduced_of, samples_of
from tuning.web.charts.parameters import group_label
from tuning.web.charts.reading import Run
from tuning.web.charts.timeline import bars_of

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def run(**fields: Any) -> Run:
    """A success of 100 s: 20 s to deploy, 60 s to measure, 5 s to clean up."""
    usual: dict[str, Any] = {
        "pk": 1,
        "number": 1,
        "status": ExperimentStatus.SUCCESS.value,
        "parameters": {},
        "objective_value": 1.0,
        "score": 1.0,
        "objective_values": {},
        "objective_scores": {},
        "num_failed_requests": 0,
        "purpose": "search",
        "failure_kind": "",
        "attempt": 1,
        "started_at": START,
        "finished_at": START + timedelta(seconds=100),
        "deploy_s": 20.0,
        "benchmark_s": 60.0,
        "cleanup_s": 5.0,
    }
    return Run(**(usual | fields))


def seconds_of(one: Run, *, now_s: float = 0.0) -> list[tuple[str, float, float]]:
    """Phase, start and end of each bar, in seconds after START."""
    bars = bars_of(one, START + timedelta(seconds=now_s))
    return [
        (bar.phase, (bar.start - START).total_seconds(), (bar.end - START).total_seconds())
        for bar in bars
    ]


class TestBestSoFar:
    SCORED = ((0, 5.0, 50.0), (1, 7.0, 70.0), (2, 5.0, 51.0), (4, 3.0, 30.0), (5, 9.0, 90.0))

    def test_minimised(self) -> None:
        assert best_so_far(self.SCORED, Direction.MINIMIZE) == [(0, 50.0), (4, 30.0)]

    def test_maximised(self) -> None:
        assert best_so_far(self.SCORED, Direction.MAXIMIZE) == [(0, 50.0), (1, 70.0), (5, 90.0)]

    def test_the_score_decides_where_a_penalty_turns_the_values_round(self) -> None:
        penalised = [(0, 2.0, 2.0), (1, 4.0, 1.0)]
        assert best_so_far(penalised, Direction.MINIMIZE) == [(0, 2.0)]

    def test_nothing_has_no_best(self) -> None:
        assert best_so_far([], Direction.MINIMIZE) == []


class TestTimeline:
    def test_all_phases(self) -> None:
        assert seconds_of(run()) == [
            ("deploy", 0, 20),
            ("benchmark", 20, 80),
            ("clean-up", 95, 100),
        ]

    def test_a_failed_start_lasts_until_the_clean_up(self) -> None:
        failed = run(status="FAILED", deploy_s=None, benchmark_s=None)
        assert seconds_of(failed) == [("deploy", 0, 95), ("clean-up", 95, 100)]

    def test_a_failed_benchmark_lasts_until_the_clean_up(self) -> None:
        failed = run(status="FAILED", benchmark_s=None)
        assert seconds_of(failed) == [
            ("deploy", 0, 20),
            ("benchmark", 20, 95),
            ("clean-up", 95, 100),
        ]

    def test_what_runs_lasts_until_now(self) -> None:
        running = {"finished_at": None, "benchmark_s": None, "cleanup_s": None}
        deploying = run(status="DEPLOYING", **(running | {"deploy_s": None}))
        benchmarking = run(status="BENCHMARKING", **running)

        assert seconds_of(deploying, now_s=7) == [("deploy", 0, 7)]
        assert seconds_of(benchmarking, now_s=50) == [("deploy", 0, 20), ("benchmark", 20, 50)]

    def test_a_new_attempt_is_not_as_far_as_the_last_one_was(self) -> None:
        again = run(status="DEPLOYING", attempt=2, finished_at=None, cleanup_s=None)
        assert seconds_of(again, now_s=40) == [("deploy", 0, 40)]

    def test_bars_never_reach_beyond_the_experiment(self) -> None:
        odd = run(deploy_s=400.0, cleanup_s=900.0)
        assert seconds_of(odd) == [("clean-up", 0, 100)]

    @pytest.mark.parametrize("fields", [{"started_at": None}, {"status": "PENDING"}])
    def test_what_was_not_launched_has_no_bars(self, fields: dict[str, Any]) -> None:
        assert seconds_of(run(**fields)) == []


class TestLoadPoints:
    def test_repeats_become_their_median_in_the_order_of_the_load(self) -> None:
        rows = [(7, "D(8,8)", 4, 30.0, 1.0), (7, "D(8,8)", 1, 9.0, 0.5)]
        repeats = [(7, "D(8,8)", 4, 10.0, 9.0), (7, "D(8,8)", 4, 20.0, None)]

        curve = curves_of(samples_of(rows + repeats))[7]

        assert curve.scenarios == {"D(8,8)": [Point(1, (9.0, 0.5)), Point(4, (20.0, None))]}

    def test_numbers_are_those_of_the_judging(self) -> None:
        rng = random.Random(1)
        loads = [(name, load) for name in ("D(8,8)", "D(64,8)") for load in (1, 4, 16)]
        rows = [(1, *load, rng.random(), rng.random()) for load in loads for _ in range(3)]
        points = [
            MeasuredPoint(name, load, repeat, {"requests_per_s": speed, "ttft_p99_s": late}, 1, 0)
            for repeat, (_, name, load, speed, late) in enumerate(rows)
        ]
        directions = (Direction.MAXIMIZE, Direction.MINIMIZE)
        objectives = [
            metric_objective(name, direction)
            for name, direction in zip(("requests_per_s", "ttft_p99_s"), directions, strict=True)
        ]

        found = reduced_of(samples_of(rows), directions)[1]

        assert found == pytest.approx(values_of(points, objectives))

    @pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "fast"])
    def test_an_experiment_with_a_gap_has_no_number(self, value: object) -> None:
        rows = [(1, "D(8,8)", 1, 5.0), (1, "D(8,8)", 4, value), (2, "D(8,8)", 1, 6.0)]
        assert reduced_of(samples_of(rows), [Direction.MINIMIZE]) == {2: (6.0,)}


def test_a_group_of_values_is_called_by_its_ends() -> None:
    assert group_label(Group((8, 16, 24), 5, 1.0)) == "8 to 24"
    assert group_label(Group((True,), 5, 1.0)) == "on"
