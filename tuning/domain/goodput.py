"""Goodput: what an engine serves within the limits, instead of what it serves at all.

DistServe defines it as "the maximum request rate that can be served adhering to the SLO attainment
goal" (Zhong et al., OSDI 2024, arXiv:2401.09670). The goal is in the limits themselves here: a
limit on `ttft_p99_s` says that 99 % of the requests keep it. genai-bench 0.0.5 holds a number of
requests under way and sends no fixed rate, so the rate is the one that a concurrency leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuning.domain.metrics import ERROR_RATE, GOODPUT, GOODPUT_CONCURRENCY
from tuning.domain.slo import Slo

GOODPUT_METRICS = frozenset({GOODPUT, GOODPUT_CONCURRENCY})


def own_limits(slos: Sequence[Slo]) -> list[Slo]:
    """The hard limits that a user has set on how requests are served."""
    return [slo for slo in slos if slo.hard and slo.metric != ERROR_RATE]


def keeps_limits(metrics: Mapping[str, float], slos: Sequence[Slo]) -> bool:
    """Whether no hard limit is broken by what was measured at one load."""
    return worst_excess(metrics, slos) <= 0


def worst_excess(metrics: Mapping[str, float], slos: Sequence[Slo]) -> float:
    """How far the hard limit that is broken most is broken, beyond what its `fail_ratio` allows.

    At most 0 when all hold: then how close it is, relative to the limit. Minus infinity without a
    hard limit.
    """
    excesses = (_beyond(slo, metrics.get(slo.metric)) for slo in slos if slo.hard)
    return max(excesses, default=float("-inf"))


def _beyond(slo: Slo, actual: float | None) -> float:
    """`fail_ratio` is how far a limit may be broken: at that ratio it is broken for good."""
    excess = slo.excess(actual)
    if excess == 0 and 0 in (slo.max, slo.min):
        # No failed requests at all are not close to too many.
        return float("-inf")
    if slo.fail_ratio == 0:
        return excess
    beyond = excess - slo.fail_ratio
    return beyond if beyond != 0 else float.fromhex("0x1p-52")


def with_goodput(
    metrics: Mapping[str, float], concurrency: int, slos: Sequence[Slo]
) -> dict[str, float]:
    """The metrics of one load with its goodput: 0 where a hard limit is broken.

    As they are where the user has set no limit, since everything would be good.
    """
    if not own_limits(slos):
        return dict(metrics)
    is_good = keeps_limits(metrics, slos)
    with_both = dict(metrics)
    with_both[GOODPUT_CONCURRENCY] = float(concurrency) if is_good else 0.0
    if "requests_per_s" in metrics:
        with_both[GOODPUT] = metrics["requests_per_s"] if is_good else 0.0
    return with_both
