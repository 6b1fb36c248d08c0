"""Limits while a configuration is measured: whether one is broken for good, or still can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuning.domain.measuring.loads import Load
from tuning.domain.metrics import ERROR_RATE, LATENCY_FAMILIES
from tuning.domain.objectives import MeasuredPoint
from tuning.domain.slo import Slo, Verdict, judge

Measured = Mapping[Load, Sequence[MeasuredPoint]]


def broken_for_good(measured: Measured, slos: Sequence[Slo], repeats: int) -> Verdict | None:
    """The verdict on a hard limit that further measurements can't mend.

    The median over the repeats of a load decides in the end, so that one repeat alone does not
    where there are several: more than half of all `repeats` have to break the limit. One failed
    request is one too many, however, where none may fail.
    """
    for load, points in measured.items():
        for slo in slos:
            broken = [verdict for one in points if (verdict := _verdict(slo, load, one))]
            is_final = 2 * len(broken) > repeats or (slo.metric == ERROR_RATE and slo.max == 0)
            if broken and is_final:
                return max(broken, key=lambda verdict: verdict.violation_ratio or 0.0)
    return None


def limited_metrics(point: MeasuredPoint) -> dict[str, float]:
    """The metrics of one measurement, with the error rate as it was counted."""
    failed = point.num_failed_requests / point.num_requests if point.num_requests else 1.0
    return {**point.metrics, ERROR_RATE: failed}


def _verdict(slo: Slo, load: Load, point: MeasuredPoint) -> Verdict | None:
    place = f"{load.scenario}, concurrency {load.concurrency}"
    verdict = judge(slo, {place: limited_metrics(point)})
    return verdict if verdict.breaks_hard_limit else None


def can_break(load: Load, measured: Measured, slos: Sequence[Slo]) -> bool:
    """Whether a limit may be broken at a load although it holds wherever it was measured.

    Latencies don't fall with concurrency: what a higher one keeps, a lower one keeps as well. Of
    any other metric nothing is known. Failing requests are looked for where there is a reason to
    measure.
    """
    return any(_may_break(slo, load, measured) for slo in slos if slo.metric != ERROR_RATE)


def _may_break(slo: Slo, load: Load, measured: Measured) -> bool:
    is_latency = slo.min is None and slo.metric.startswith(tuple(LATENCY_FAMILIES))
    higher = [one for one in measured if one.scenario == load.scenario and one > load]
    # A soft limit that is broken at the higher one costs most there, and counts already.
    return not (is_latency and higher)
