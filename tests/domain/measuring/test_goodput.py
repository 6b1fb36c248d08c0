"""The search for the edge of the limits, and what goodput is."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.measuring.engines import Engine, follow, point, traffic
from tests.domain.task_files import minimal_task
from tuning.domain.goodput import keeps_limits, with_goodput, worst_excess
from tuning.domain.measuring.course import EndKind
from tuning.domain.measuring.goodput import MOST_PROBES, Edge, Probe, edge_of, next_probe
from tuning.domain.measuring.goodput_course import GoodputCourse
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.metrics import ERROR_RATE
from tuning.domain.objectives import NAMED_OBJECTIVES, evaluate
from tuning.domain.slo import Slo
from tuning.domain.spec import InvalidTask, parse_task

GOODPUT = NAMED_OBJECTIVES["maximize_goodput"]


def probed(
    edge: float, lowest: int, highest: int, hint: int | None, noise_cv: float = 0.0, seed: int = 0
) -> list[Probe]:
    """Limits break beyond `edge`; the excess is measured with noise."""
    rng = Random(seed)
    probes: list[Probe] = []
    while (level := next_probe(probes, lowest, highest, noise_cv, hint)) is not None:
        probes.append(Probe(level, level / edge * math.exp(rng.gauss(0, noise_cv)) - 1))
    return probes


RANGES = st.tuples(st.integers(1, 50), st.integers(1, 20_000)).map(sorted)


@given(RANGES, st.floats(0.5, 40_000), st.none() | st.floats(0, 1))
def test_the_edge_is_found_within_five_percent_and_ten_probes(
    limits: list[int], edge: float, hint: float | None
) -> None:
    lowest, highest = limits
    start = None if hint is None else round(lowest + hint * (highest - lowest))
    probes = probed(edge, lowest, highest, start)
    assert len(probes) <= MOST_PROBES
    assert all(lowest <= probe.concurrency <= highest for probe in probes)
    true = min(math.floor(edge), highest)
    found = edge_of(probes).good
    if true < lowest:
        assert found is None
    else:
        assert found is not None
        assert found <= true <= max(found * 1.05, found)  # at most 5 % above what was found


def test_a_good_hint_spares_probes() -> None:
    without = sum(len(probed(edge, 1, 1000, None)) for edge in range(100, 900, 50))
    told = sum(len(probed(edge, 1, 1000, round(edge * 1.1))) for edge in range(100, 900, 50))
    assert told < without


def test_what_noise_could_have_decided_is_probed_again() -> None:
    probes = probed(40, 1, 64, None, noise_cv=0.02)
    levels = [probe.concurrency for probe in probes]
    assert len(set(levels)) < len(levels) <= MOST_PROBES
    assert len({level for level in levels if levels.count(level) > 1}) <= 3


def test_noise_moves_the_edge_by_little_more_than_itself() -> None:
    for seed in range(100):
        found = edge_of(probed(300, 1, 1000, None, noise_cv=0.03, seed=seed)).good
        assert found is not None
        assert 300 * 0.85 <= found <= 300 * 1.12


def test_a_lucky_probe_beyond_the_edge_does_not_count() -> None:
    assert edge_of([Probe(8, -0.5), Probe(16, 0.1), Probe(32, -0.1)]) == Edge(8, 16)
    assert edge_of([Probe(8, 0.1), Probe(8, -0.2), Probe(8, -0.1)]) == Edge(8, None)


LIMITS = (Slo("e2e_latency_p99_s", max=2.0), Slo(ERROR_RATE, max=0.0))


def test_goodput_is_the_rate_within_the_limits_and_nothing_beyond() -> None:
    within = {"e2e_latency_p99_s": 1.9, "requests_per_s": 7.0, ERROR_RATE: 0.0}
    assert with_goodput(within, 8, LIMITS)["goodput_requests_per_s"] == 7.0
    assert with_goodput(within, 8, LIMITS)["goodput_concurrency"] == 8
    for broken in ({"e2e_latency_p99_s": 2.1}, {ERROR_RATE: 0.01}):
        beyond = with_goodput(within | broken, 8, LIMITS)
        assert beyond["goodput_requests_per_s"] == beyond["goodput_concurrency"] == 0
    assert with_goodput(within, 8, LIMITS[1:]) == within


def test_how_close_a_limit_is_leaves_out_those_that_can_not_be_close() -> None:
    assert worst_excess({"e2e_latency_p99_s": 1.0, ERROR_RATE: 0.0}, LIMITS) == -0.5
    soft = Slo("ttft_p99_s", max=0.1, hard=False)
    assert keeps_limits(
        {"e2e_latency_p99_s": 1.0, ERROR_RATE: 0.0, "ttft_p99_s": 9.0}, [*LIMITS, soft]
    )
    tolerant = Slo("ttft_p99_s", max=1.0, fail_ratio=0.2)
    assert keeps_limits({"ttft_p99_s": 1.19}, [tolerant])
    assert not keeps_limits({"ttft_p99_s": 1.21}, [tolerant])


def test_what_breaks_limits_beyond_the_edge_is_no_fault() -> None:
    of = traffic(GOODPUT, (1, 500), slos=LIMITS)
    engine = Engine(10_000)
    points, end = follow(
        GoodputCourse(of, Pruning.SAFE), [], lambda load, n: point(engine, load, n)
    )
    assert end.kind is EndKind.COMPLETE
    evaluation = evaluate(points, GOODPUT, LIMITS)
    assert evaluation.feasible
    # 1 s + 100 c / 10,000 s <= 2 s: up to 100 clients, 50 requests a second.
    assert evaluation.value == pytest.approx(50, rel=0.05)
    concurrency = NAMED_OBJECTIVES["maximize_goodput"].__class__(
        "c", "goodput_concurrency", GOODPUT.direction
    )
    assert evaluate(points, concurrency, LIMITS).value == pytest.approx(100, rel=0.05)


def test_an_engine_that_never_keeps_its_limits_is_infeasible_and_worth_nothing() -> None:
    of = traffic(GOODPUT, (1, 64), slos=LIMITS)
    slow = Engine(10, idle_s=5.0)
    points, _ = follow(GoodputCourse(of, Pruning.SAFE), [], lambda load, n: point(slow, load, n))
    evaluation = evaluate(points, GOODPUT, LIMITS)
    assert (evaluation.value, evaluation.feasible) == (0.0, False)
    assert min(one.concurrency for one in points) == 1


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"slo": {}}, "optimization.objective"),
        ({"slo": {"error_rate": 0.1}}, "optimization.objective"),
        ({"slo": {"ttft_p99_s": {"max": 1, "hard": False}}}, "optimization.objective"),
        ({"benchmark": {"num_concurrency": [8]}}, "benchmark.num_concurrency"),
        ({"slo": {"goodput_concurrency": 4}}, "slo.goodput_concurrency"),
        (
            {
                "optimization": {
                    "objective": {"metric": "goodput_concurrency", "direction": "minimize"}
                }
            },
            "optimization.objective.direction",
        ),
    ],
)
def test_goodput_without_what_it_needs_is_refused(sections: dict[str, object], path: str) -> None:
    right: dict[str, object] = {
        "optimization": {"objective": "maximize_goodput"},
        "slo": {"ttft_p99_s": 1.0},
        "benchmark": {"num_concurrency": [1, 64]},
    }
    assert parse_task(minimal_task(**right)).objective == GOODPUT
    with pytest.raises(InvalidTask) as caught:
        parse_task(minimal_task(**(right | sections)))
    assert path in [problem.path for problem in caught.value.problems]
