"""When a limit is broken, what that costs, and which load point is to blame."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.domain.slo import Slo, judge, with_implicit_slos


def at_one_point(slo: Slo, value: float | None) -> dict[str, dict[str, float]]:
    return {"D(1,2), concurrency 1": {} if value is None else {slo.metric: value}}


def test_the_older_formula_gives_the_older_numbers() -> None:
    """The worked examples of the older release's documentation, `docs/SLO_SCORING.md`."""
    p90 = Slo("e2e_latency_p90_s", max=5.0, hard=True, weight=2.0, fail_ratio=0.2)
    ten_percent_over = judge(p90, at_one_point(p90, 5.5))
    assert not ten_percent_over.breaks_hard_limit
    assert ten_percent_over.violation_ratio == pytest.approx(0.1)
    assert ten_percent_over.penalty == pytest.approx(2 * math.e)
    assert judge(p90, at_one_point(p90, 6.5)).breaks_hard_limit
    assert judge(p90, at_one_point(p90, 4.0)).penalty == 0


@pytest.mark.parametrize(
    ("slo", "value", "is_met"),
    [
        (Slo("ttft_p99_s", max=0.5), 0.5, True),
        (Slo("ttft_p99_s", max=0.5), 0.500001, False),
        (Slo("requests_per_s", min=10), 10.0, True),
        (Slo("requests_per_s", min=10), 9.9, False),
        (Slo("mean_output_tokens", min=90, max=110), 100.0, True),
        (Slo("mean_output_tokens", min=90, max=110), 80.0, False),
        (Slo("mean_output_tokens", min=90, max=110), 120.0, False),
        (Slo("error_rate", max=0), 0.0, True),
        (Slo("error_rate", max=0), 0.001, False),
        (Slo("ttft_p99_s", max=0.5), None, False),
        (Slo("ttft_p99_s", max=0.5), math.nan, False),
    ],
)
def test_a_hard_limit_is_infeasible_as_soon_as_it_is_broken(
    slo: Slo, value: float | None, is_met: bool
) -> None:
    verdict = judge(slo, at_one_point(slo, value))
    assert verdict.is_met is is_met
    assert verdict.breaks_hard_limit is not is_met


def test_the_worst_load_point_decides() -> None:
    verdict = judge(
        Slo("ttft_p99_s", max=0.5),
        {
            "D(1,2), concurrency 1": {"ttft_p99_s": 0.4},
            "D(1,2), concurrency 8": {"ttft_p99_s": 0.9},
            "D(1,2), concurrency 4": {"ttft_p99_s": 0.6},
        },
    )
    assert verdict.place == "D(1,2), concurrency 8"
    assert str(verdict) == (
        "ttft_p99_s was 0.9 s at D(1,2), concurrency 8; the limit is at most 0.5 s"
    )


def test_a_limit_can_not_hold_where_nothing_was_measured() -> None:
    slo = Slo("ttft_p99_s", max=0.5)
    points = {"first": {"ttft_p99_s": 0.1}, "second": {"tpot_mean_s": 0.1}}
    assert str(judge(slo, points)) == (
        "ttft_p99_s was not measured at second; the limit is at most 0.5 s"
    )
    assert judge(slo, {}).breaks_hard_limit


def test_a_soft_limit_never_makes_infeasible() -> None:
    slo = Slo("ttft_p99_s", max=0.5, hard=False)
    assert not judge(slo, at_one_point(slo, 1e9)).breaks_hard_limit
    assert not judge(slo, at_one_point(slo, None)).breaks_hard_limit


@given(
    limit=st.floats(0, 1e9),
    actual=st.none() | st.floats(0, allow_infinity=True),
    weight=st.floats(0, 1e6),
    steepness=st.floats(1e-6, 1e6),
    hard=st.booleans(),
)
def test_a_verdict_is_finite_and_fits_into_json(
    limit: float, actual: float | None, weight: float, steepness: float, hard: bool
) -> None:
    slo = Slo("ttft_p99_s", max=limit, hard=hard, weight=weight, steepness=steepness)
    verdict = judge(slo, at_one_point(slo, actual))
    assert math.isfinite(verdict.penalty)
    json.dumps(asdict(verdict), allow_nan=False)


@given(
    over=st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)).map(sorted), steepness=st.floats(0.1, 1)
)
def test_a_worse_violation_is_never_cheaper(over: list[float], steepness: float) -> None:
    slo = Slo("ttft_p99_s", max=1.0, hard=False, steepness=steepness)
    less, more = (judge(slo, at_one_point(slo, 1.0 + ratio)).penalty for ratio in over)
    assert 0 < less <= more


def test_failed_requests_are_a_hard_limit_unless_the_task_says_otherwise() -> None:
    own = Slo("error_rate", max=0.05, hard=False)
    assert with_implicit_slos([]) == (Slo("error_rate", max=0.0),)
    assert with_implicit_slos([own]) == (own,)
