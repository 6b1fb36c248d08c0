"""From rows of measurements to curves over the load, and to one number for each metric.

The numbers are those of `tuning.domain.objectives.values_of`, but from plain tuples: that takes a
tenth of the time, which counts for a thousand experiments with eight load points each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from tuning.domain.metrics import Direction

Values = tuple[float | None, ...]
Sample = tuple[int, str, int, Values]
"""An experiment's primary key, the scenario, the concurrency, and metrics in a fixed order."""


@dataclass(frozen=True)
class Point:
    """A load point, its repeats reduced to their median. None for what was not measured."""

    concurrency: int
    values: Values


@dataclass(frozen=True)
class Curve:
    """The load points of one experiment by scenario, in ascending order of the concurrency."""

    experiment_id: int
    scenarios: Mapping[str, Sequence[Point]]


def samples_of(rows: Iterable[tuple[Any, ...]]) -> list[Sample]:
    """Rows of primary key, scenario, concurrency and then metrics, as the database gives them."""
    return [(row[0], row[1], row[2], tuple(map(_finite, row[3:]))) for row in rows]


def curves_of(samples: Iterable[Sample]) -> dict[int, Curve]:
    """The curve of each experiment that was measured at all."""
    repeats: dict[int, dict[tuple[str, int], list[Values]]] = {}
    for experiment_id, scenario, concurrency, values in samples:
        points = repeats.setdefault(experiment_id, {})
        points.setdefault((scenario, concurrency), []).append(values)
    return {
        experiment_id: _curve(experiment_id, points) for experiment_id, points in repeats.items()
    }


def reduced(curve: Curve, directions: Sequence[Direction]) -> tuple[float, ...] | None:
    """One number for each metric; None when one lacks at any load point."""
    numbers = []
    for position, direction in enumerate(directions):
        by_scenario = [
            [point.values[position] for point in points] for points in curve.scenarios.values()
        ]
        numbers.append(_over_load(by_scenario, direction))
    known = tuple(number for number in numbers if number is not None)
    return known if len(known) == len(directions) else None


def _over_load(by_scenario: Sequence[Sequence[float | None]], direction: Direction) -> float | None:
    """The mean of all load points; of a maximised metric the best of each scenario, averaged."""
    known = [[value for value in values if value is not None] for values in by_scenario]
    if not known or list(map(len, known)) != list(map(len, by_scenario)):
        return None
    if direction is Direction.MAXIMIZE:
        return fmean(max(values) for values in known)
    return fmean(value for values in known for value in values)


def _curve(experiment_id: int, repeats: Mapping[tuple[str, int], Sequence[Values]]) -> Curve:
    scenarios: dict[str, list[Point]] = {}
    for (scenario, concurrency), group in sorted(repeats.items()):
        values = group[0] if len(group) == 1 else tuple(map(_median, zip(*group, strict=True)))
        scenarios.setdefault(scenario, []).append(Point(concurrency, values))
    return Curve(experiment_id, scenarios)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
