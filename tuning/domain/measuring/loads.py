"""Loads, and curves over them: what one metric of one configuration was at each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tuning.domain.objectives import MeasuredPoint


@dataclass(frozen=True, order=True)
class Load:
    """A traffic scenario at a concurrency, however often it is measured."""

    scenario: str
    concurrency: int

    def __str__(self) -> str:
        return f"{self.scenario} at concurrency {self.concurrency}"

    def octaves_from(self, other: Load) -> float:
        """How often the concurrency doubles from one to the other; never negative."""
        return abs(math.log2(self.concurrency / other.concurrency))


Curve = Mapping[Load, float]
"""A metric at each load that was measured, above 0. Repeats are reduced to their median."""


def load_of(point: MeasuredPoint) -> Load:
    return Load(point.scenario, point.concurrency)


def by_load(points: Iterable[MeasuredPoint]) -> dict[Load, list[MeasuredPoint]]:
    """The repeats of each load, in the order in which the loads come first."""
    grouped: dict[Load, list[MeasuredPoint]] = {}
    for point in points:
        grouped.setdefault(load_of(point), []).append(point)
    return grouped


def curve_of(points: Iterable[MeasuredPoint], metric: str) -> dict[Load, float]:
    """One metric of one configuration; a load where it is missing or not above 0 is left out."""
    curve = {}
    for load, repeats in by_load(points).items():
        values = positive_values(repeats, metric)
        if len(values) == len(repeats):
            curve[load] = median(values)
    return curve


def positive_values(points: Sequence[MeasuredPoint], metric: str) -> list[float]:
    """The metric of each point that has one above 0, as logarithms need it."""
    found = (point.metrics.get(metric, math.nan) for point in points)
    return [value for value in found if math.isfinite(value) and value > 0]
