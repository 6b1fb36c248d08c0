"""Service level objectives: limits on a metric, and what breaking them costs.

A limit must hold at every load point; the worst point decides. How far a limit is broken is its
violation ratio: `(actual - max) / max`, or `(min - actual) / min`. A hard limit makes the
configuration infeasible once the ratio reaches `fail_ratio`. Any other violation adds the penalty
`weight * exp(ratio / steepness)`. This is the scoring of the older task files, for any metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuning.domain.metrics import ERROR_RATE, METRICS

DEFAULT_WEIGHT = 1.0
DEFAULT_STEEPNESS = 0.1

_LARGEST_EXPONENT = 100.0
"""Penalties beyond exp(100) say nothing more, and would overflow in the end."""


@dataclass(frozen=True)
class Slo:
    """A limit on one metric, in the metric's own unit. At least one of `max` and `min` is set.

    `fail_ratio` is how far a hard limit may be broken before it makes a configuration infeasible:
    0 is not at all, 0.2 is by less than 20 %. `weight` and `steepness` shape the penalty of what
    is not infeasible.
    """

    metric: str
    max: float | None = None
    min: float | None = None
    hard: bool = True
    weight: float = DEFAULT_WEIGHT
    fail_ratio: float = 0.0
    steepness: float = DEFAULT_STEEPNESS

    def excess(self, actual: float | None) -> float:
        """The violation ratio: above 0 when the limit is broken, at most 0 when it holds.

        A metric that was not measured can't be shown to hold: its excess is infinite. So is that
        of anything beyond a limit of 0.
        """
        if actual is None or not math.isfinite(actual):
            return math.inf
        ratios = []
        if self.max is not None:
            ratios.append(_ratio(actual - self.max, self.max))
        if self.min is not None:
            ratios.append(_ratio(self.min - actual, self.min))
        return max(ratios)

    def penalty(self, excess: float) -> float:
        """What a violation adds to the factor by which the score gets worse. Always finite."""
        if excess <= 0:
            return 0.0
        return self.weight * math.exp(min(excess / self.steepness, _LARGEST_EXPONENT))

    def __str__(self) -> str:
        unit = METRICS[self.metric].unit
        limits = [
            f"{word} {limit:g} {unit}".rstrip()
            for word, limit in (("at least", self.min), ("at most", self.max))
            if limit is not None
        ]
        return f"{self.metric} {' and '.join(limits)}"


@dataclass(frozen=True)
class Verdict:
    """Whether one SLO holds, as the worst load point shows it.

    `place` names that point and `actual` is its value, None when it was not measured.
    `violation_ratio` is None when the limit holds, and when the ratio is not a finite number.
    """

    metric: str
    limit: str
    place: str | None
    actual: float | None
    is_met: bool
    breaks_hard_limit: bool
    violation_ratio: float | None
    penalty: float

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        if self.actual is None:
            return f"{self.metric} was not measured{where}; the limit is {self.limit}"
        actual = f"{self.actual:.4g} {METRICS[self.metric].unit}".rstrip()
        return f"{self.metric} was {actual}{where}; the limit is {self.limit}"


def judge(slo: Slo, points: Mapping[str, Mapping[str, float]]) -> Verdict:
    """The verdict over all load points; keys of `points` are their names, values their metrics."""
    values = {place: _finite(metrics.get(slo.metric)) for place, metrics in points.items()}
    place = max(values, key=lambda key: slo.excess(values[key]), default=None)
    actual = None if place is None else values[place]
    excess = slo.excess(actual)
    is_met = excess <= 0
    return Verdict(
        metric=slo.metric,
        limit=str(slo).removeprefix(f"{slo.metric} "),
        place=place,
        actual=actual,
        is_met=is_met,
        breaks_hard_limit=slo.hard and not is_met and excess >= slo.fail_ratio,
        violation_ratio=None if is_met or math.isinf(excess) else excess,
        penalty=slo.penalty(excess),
    )


def with_implicit_slos(slos: Sequence[Slo]) -> tuple[Slo, ...]:
    """The SLOs of a task and, unless it limits `error_rate` itself, that no request may fail.

    An engine that drops requests can look fast; it never wins silently.
    """
    if any(slo.metric == ERROR_RATE for slo in slos):
        return tuple(slos)
    return (*slos, Slo(ERROR_RATE, max=0.0))


def _ratio(beyond: float, limit: float) -> float:
    if limit == 0:
        return math.inf if beyond > 0 else 0.0
    return beyond / limit


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
