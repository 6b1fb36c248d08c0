"""What is measured next, and what ends a configuration's measuring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.measuring.engines import (
    LATENCY,
    THROUGHPUT,
    Engine,
    follow,
    loads,
    point,
    search,
    traffic,
    whole,
)
from tuning.domain.measuring.course import EndKind, Measure, Past, PrunedCourse, WholeCourse
from tuning.domain.measuring.loads import Load, load_of
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.metrics import ERROR_RATE, Direction
from tuning.domain.objectives import MeasuredPoint, Objective, evaluate
from tuning.domain.slo import Slo

SAFE = Pruning.SAFE


def test_a_whole_course_is_the_plan_one_repeat_after_the_other() -> None:
    of = traffic(concurrencies=(4, 1), repeats=2)
    points, end = follow(WholeCourse(of), [], lambda load, repeat: point(Engine(100), load, repeat))
    assert [(one.concurrency, one.repeat) for one in points] == [(4, 0), (1, 0), (4, 1), (1, 1)]
    assert end.kind is EndKind.COMPLETE
    assert end.as_document() == {}


def test_without_anything_to_compare_with_everything_is_measured() -> None:
    of = traffic(LATENCY)
    points, end = follow(PrunedCourse(of, SAFE), [], lambda load, _: point(Engine(100), load))
    assert {load_of(one) for one in points} == set(of.loads)
    assert end.kind is EndKind.COMPLETE


def test_with_requests_given_the_highest_concurrency_comes_first() -> None:
    """It takes least time, and says most of throughput."""
    of = traffic()
    step = PrunedCourse(of, SAFE).next_step([], [whole(0, Engine(1000), of)])
    assert step == Measure(Load("D(100,100)", 64), 0)


def test_where_time_grows_with_concurrency_one_in_the_middle_comes_first() -> None:
    of = traffic(concurrencies=(1, 4, 16, 32, 64))
    growing = {load: load.concurrency**2.0 for load in of.loads}
    engines = [Engine(100.0 * 2**step, idle_s=8.0 / 2**step) for step in range(8)]
    past = [replace(whole(n, one, of), seconds=growing) for n, one in enumerate(engines)]
    step = PrunedCourse(of, SAFE).next_step([], past)
    assert isinstance(step, Measure)
    assert step.load.concurrency < 64


def test_a_hopeless_configuration_is_stopped_with_numbers() -> None:
    of = traffic(LATENCY)
    past, ends = search([Engine(1000), Engine(900), Engine(20, idle_s=60)], of)
    end = ends[-1]
    assert end.kind is EndKind.PRUNED
    assert len(past[-1].points) + len(end.skipped) == len(of.loads)
    assert end.numbers["chance"] < 0.02
    assert end.numbers["best_experiment"] == 0
    assert end.numbers["score_bound"] > end.numbers["best_score"] == past[0].score
    assert "noise of 2.0% (expected, nothing repeated)" in end.reason


def test_measurements_that_vary_let_more_pass() -> None:
    """Twice as slow is hopeless where measurements repeat, and not where they vary by half."""
    of = traffic(LATENCY, repeats=3)
    steady = [whole(number, Engine(1000 + number), of) for number in range(6)]
    half_slower = [point(Engine(500, idle_s=2.0), load) for load in of.loads[-2:]]
    assert not isinstance(PrunedCourse(of, SAFE).next_step(half_slower, steady), Measure)

    def disturbed(number: int) -> list[MeasuredPoint]:
        return [
            replace(one, repeat=repeat, metrics={k: v * factor for k, v in one.metrics.items()})
            for one in steady[number].points
            for repeat, factor in enumerate((0.5, 1.0, 2.0))
        ]

    noisy = [replace(one, points=disturbed(one.number)) for one in steady]
    assert isinstance(PrunedCourse(of, SAFE).next_step(half_slower, noisy), Measure)


def test_aggressive_stops_no_later_than_safe() -> None:
    of = traffic(LATENCY, concurrencies=(1, 2, 4, 8, 16, 32))
    engines = [Engine(1000), *(Engine(1000 - 60 * step, 1 + step / 8) for step in range(1, 12))]
    safe, _ = search(engines, of, SAFE)
    aggressive, _ = search(engines, of, Pruning.AGGRESSIVE)
    counts = [(len(b.points), len(a.points)) for a, b in zip(safe, aggressive, strict=True)]
    assert all(less <= more for less, more in counts)
    assert sum(less for less, _ in counts) < sum(more for _, more in counts)


def test_loads_that_can_not_be_the_best_are_left_out_of_a_maximum_only() -> None:
    engines = [Engine(1000 + 10 * step) for step in range(12)]
    past, ends = search(engines, traffic())
    assert ends[-1].kind is EndKind.ENOUGH
    assert [one.concurrency for one in past[-1].points] == [64]
    past, ends = search(engines, traffic(LATENCY))
    assert ends[-1].kind is EndKind.COMPLETE


def test_a_saturated_engine_is_not_given_more_clients() -> None:
    """Throughput stays and latency doubles from 16 to 32: 64 would only wait."""
    of = traffic(concurrencies=(8, 16, 32, 64))
    past = whole(0, Engine(1000, idle_s=20.0), of)
    points = [point(Engine(10, idle_s=0.001), load) for load in loads(16, 32)]
    step = PrunedCourse(of, SAFE).next_step(points, [past])
    assert not isinstance(step, Measure) or step.load.concurrency < 64
    limited = replace(of, slos=(Slo("e2e_latency_p99_s", max=1e6),))
    wanted = set()
    for chosen in loads(8, 64):
        of_one = replace(limited, loads=[*loads(16, 32), chosen])
        step = PrunedCourse(of_one, SAFE).next_step(points, [replace(past, score=None)])
        wanted |= {step.load} if isinstance(step, Measure) else set()
    # Under a limit on latency, more clients are measured: they may break it.
    assert loads(64)[0] in wanted


@pytest.mark.parametrize(
    ("metric", "limit", "expected"),
    [
        ("e2e_latency_p99_s", {"max": 2.0}, EndKind.SLO_BROKEN),
        ("output_throughput_tokens_per_s", {"min": 1e6}, EndKind.SLO_BROKEN),
        ("e2e_latency_p99_s", {"max": 2.0, "hard": False}, EndKind.COMPLETE),
        ("e2e_latency_p99_s", {"max": 2.0, "fail_ratio": 100.0}, EndKind.COMPLETE),
    ],
)
def test_a_broken_hard_limit_ends_the_rest(
    metric: str, limit: dict[str, Any], expected: EndKind
) -> None:
    of = traffic(LATENCY, slos=(Slo(metric, **limit),))
    engine = Engine(1000)
    points, end = follow(PrunedCourse(of, SAFE), [], lambda load, _: point(engine, load))
    assert end.kind is expected
    assert (len(points) < len(of.loads)) is (expected is EndKind.SLO_BROKEN)


def test_one_repeat_of_three_does_not_break_a_limit() -> None:
    of = traffic(concurrencies=(4,), repeats=3, slos=(Slo("e2e_latency_p99_s", max=2.0),))
    slow, fast = Engine(100), Engine(1000)
    first = [point(slow, of.loads[0], 0)]
    assert isinstance(PrunedCourse(of, SAFE).next_step(first, []), Measure)
    mended = [*first, point(fast, of.loads[0], 1), point(fast, of.loads[0], 2)]
    assert PrunedCourse(of, SAFE).next_step(mended, []).kind is EndKind.COMPLETE  # type: ignore[union-attr]
    broken = [*first, point(slow, of.loads[0], 1)]
    assert PrunedCourse(of, SAFE).next_step(broken, []).kind is EndKind.SLO_BROKEN  # type: ignore[union-attr]


def test_a_failed_request_can_not_be_mended() -> None:
    of = traffic(repeats=3, slos=(Slo(ERROR_RATE, max=0.0),))
    failing = [point(Engine(100), of.loads[0], failed=1)]
    end = PrunedCourse(of, SAFE).next_step(failing, [])
    assert not isinstance(end, Measure)
    assert end.kind is EndKind.SLO_BROKEN
    assert end.reason.startswith("error_rate was 0.01")


PEAKS = st.lists(st.floats(10, 1e4), min_size=2, max_size=10)


@given(PEAKS, st.floats(0.5, 20), st.sampled_from([THROUGHPUT, LATENCY]))
def test_safe_never_loses_the_best_of_engines_that_scale_alike(
    peaks: list[float], idle_s: float, objective: Objective
) -> None:
    """Engines that differ by a factor: without noise, nothing that is left out matters."""
    of = traffic(objective)
    engines = [Engine(peak, idle_s=idle_s * 1000 / peak) for peak in peaks]
    past, _ = search(engines, of)
    truths = [whole(0, engine, of).score for engine in engines]
    assert all(truth is not None for truth in truths)
    direction = of.objective.direction
    choose = min if direction is Direction.MINIMIZE else max
    found = {one.number: one.score for one in past if one.score is not None}
    best = choose(found, key=lambda number: found[number])
    assert truths[best] == pytest.approx(choose(one for one in truths if one is not None))


CURVES = st.lists(
    st.tuples(st.floats(10, 1e4), st.lists(st.floats(1.0, 4.0), min_size=3, max_size=3)),
    min_size=2,
    max_size=8,
)


@given(CURVES)
def test_safe_never_loses_the_highest_throughput_whatever_the_shapes(
    curves: list[tuple[float, list[float]]],
) -> None:
    """Throughput that never falls with concurrency, as in any closed loop that is not overwhelmed:
    the highest concurrency is then the value, and it is measured before anything is given up."""
    of = traffic()
    past: list[Past] = []
    truths = []
    for number, (lowest, growths) in enumerate(curves):
        values = {of.loads[0]: lowest}
        for load, before, growth in zip(of.loads[1:], of.loads[:-1], growths, strict=True):
            values[load] = values[before] * min(growth, load.concurrency / before.concurrency)

        def measured(load: Load, repeat: int, known: dict[Load, float] = values) -> MeasuredPoint:
            metrics = {"output_throughput_tokens_per_s": known[load]}
            return replace(point(Engine(1), load, repeat), metrics=metrics)

        course = PrunedCourse(of, SAFE) if past else WholeCourse(of)
        points, end = follow(course, past, measured)
        is_rival = end.kind is not EndKind.PRUNED
        score = evaluate(points, of.objective, ()).score if is_rival else None
        # As many requests for each load: the highest concurrency takes least time.
        seconds = {load: 100 / load.concurrency for load in of.loads}
        past.append(
            replace(whole(number, Engine(1), of), points=points, score=score, seconds=seconds)
        )
        truths.append(max(values.values()))
    found = {one.number: one.score for one in past if one.score is not None}
    best = max(found, key=lambda number: found[number])
    assert truths[best] >= max(truths) * (1 - 1e-9)


def test_configurations_that_failed_before_anything_was_measured_are_no_hindrance() -> None:
    of = traffic(LATENCY)
    failed = [Past(number, []) for number in range(4)]
    points, end = follow(PrunedCourse(of, SAFE), failed, lambda load, _: point(Engine(100), load))
    assert {load_of(one) for one in points} == set(of.loads)
    assert end.kind is EndKind.COMPLETE
