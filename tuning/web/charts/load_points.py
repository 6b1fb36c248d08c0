"""From rows of measurements to curves over the load, and to one number for each metric.

The numbers are those of `tuning.domain.objectives.values_of`, but from plain tuples: that takes a
tenth of the time, which counts for a thousand experiments with eight load points each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
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
    curves = {}
    for experiment_id, points in _by_experiment(samples).items():
        scenarios: dict[str, list[Point]] = {}
        for (scenario, concurrency), values in sorted(points.items(), key=lambda item: item[0]):
            scenarios.setdefault(scenario, []).append(Point(concurrency, values))
        curves[experiment_id] = Curve(experiment_id, scenarios)
    return curves


def reduced_of(
    samples: Iterable[Sample], directions: Sequence[Direction]
) -> dict[int, tuple[float, ...]]:
    """One number for each metric of each experiment that has them at all of its load points.

    A metric to be minimised is averaged over the load points; one to be maximised takes the best
    of each scenario, averaged over the scenarios.
    """
    numbers = {}
    for experiment_id, points in _by_experiment(samples).items():
        columns = [
            _over_load(points, position, direction) for position, direction in enumerate(directions)
        ]
        known = tuple(number for number in columns if number is not None)
        if len(known) == len(columns):
            numbers[experiment_id] = known
    return numbers


def _over_load(
    points: Mapping[tuple[str, int], Values], position: int, direction: Direction
) -> float | None:
    values = [values[position] for values in points.values()]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if direction is Direction.MINIMIZE:
        return sum(known) / len(known)
    best: dict[str, float] = {}
    for (scenario, _), value in zip(points, known, strict=True):
        best[scenario] = max(value, best.get(scenario, value))
    return sum(best.values()) / len(best)


def _by_experiment(samples: Iterable[Sample]) -> dict[int, dict[tuple[str, int], Values]]:
    """The load points of each experiment, their repeats reduced to the median."""
    first: dict[int, dict[tuple[str, int], Values]] = {}
    more: dict[tuple[int, str, int], list[Values]] = {}
    for experiment_id, scenario, concurrency, values in samples:
        points = first.setdefault(experiment_id, {})
        known = points.setdefault((scenario, concurrency), values)
        if known is not values:
            more.setdefault((experiment_id, scenario, concurrency), [known]).append(values)
    for (experiment_id, scenario, concurrency), repeats in more.items():
        medians = tuple(map(_median, zip(*repeats, strict=True)))
        first[experiment_id][scenario, concurrency] = medians
    return first


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
