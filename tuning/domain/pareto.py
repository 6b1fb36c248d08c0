"""Which of many measured configurations are worth a choice when several measures pull apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuning.domain.metrics import Direction

Point = tuple[float, ...]
"""One value for each measure."""

REFERENCE = 1.1
"""Where hypervolumes end on each scaled axis, on which the front lies between 0 and 1. Beyond 1, so
that the ends of the front count, too (H. Ishibuchi et al., "How to specify a reference point in
hypervolume calculation for fair performance comparison", Evolutionary Computation 26(3), 2018)."""


def pareto_front(
    points: Sequence[tuple[float, float]], directions: tuple[Direction, Direction]
) -> list[int]:
    """The indexes of the points that no other point dominates, the best of the first measure first.

    A point dominates another when it is at least as good in both measures and better in one. So
    equal points do not dominate each other: all of them are on the front. Takes O(n log n).
    """
    costs = [
        (_cost(first, directions[0]), _cost(second, directions[1])) for first, second in points
    ]
    front: list[int] = []
    least = math.inf
    for index in sorted(range(len(costs)), key=costs.__getitem__):
        equals_the_last = bool(front) and costs[index] == costs[front[-1]]
        if costs[index][1] < least or equals_the_last:
            front.append(index)
            least = costs[index][1]
    return front


def non_dominated(points: Sequence[Point], directions: Sequence[Direction]) -> list[int]:
    """As `pareto_front`, for any number of measures. Takes O(n * size of the front)."""
    costs = [costs_of(point, directions) for point in points]
    front: list[int] = []
    # Nothing that comes later in this order can dominate what comes before.
    for index in sorted(range(len(costs)), key=costs.__getitem__):
        if not any(_dominates(costs[kept], costs[index]) for kept in front):
            front.append(index)
    return front


@dataclass(frozen=True)
class Scale:
    """Turns measures into costs of which 0 is the best and 1 the worst of a Pareto front.

    A point off the front may have costs above 1. Where the whole front has one value of a measure,
    the worst of all points takes the place of its worst.
    """

    directions: tuple[Direction, ...]
    ideal: Point
    extent: Point

    @classmethod
    def of(cls, points: Sequence[Point], directions: Sequence[Direction]) -> Scale:
        """Raises ValueError when there are no points."""
        costs = [costs_of(point, directions) for point in points]
        front = [costs[index] for index in non_dominated(points, directions)]
        ideal = tuple(map(min, zip(*front, strict=True)))
        on_front = map(max, zip(*front, strict=True))
        overall = map(max, zip(*costs, strict=True))
        extent = tuple(
            (worst - best) or (last - best) or 1.0
            for best, worst, last in zip(ideal, on_front, overall, strict=True)
        )
        return cls(tuple(directions), ideal, extent)

    def scaled(self, point: Point) -> Point:
        costs = costs_of(point, self.directions)
        return tuple(
            (cost - best) / extent
            for cost, best, extent in zip(costs, self.ideal, self.extent, strict=True)
        )


def knee(points: Sequence[Point], directions: Sequence[Direction]) -> int | None:
    """The index of the point on the front that bulges farthest towards the ideal; None of none.

    That is the one farthest from the line (plane, hyperplane) through the extremes of the front on
    axes scaled to it (I. Das, "On characterizing the 'knee' of the Pareto curve based on
    normal-boundary intersection", Structural Optimization 18, 1999). There the extremes span the
    plane on which the costs add up to 1, so the distance is (1 - sum of costs) / sqrt(measures).
    Where nothing bulges, it is the most balanced one, whose largest cost is the least; of equals
    the first.
    """
    if not points:
        return None
    scale = Scale.of(points, directions)

    costs = {index: scale.scaled(points[index]) for index in non_dominated(points, directions)}

    def preference(index: int) -> tuple[float, float, int]:
        below_the_plane = min(round(sum(costs[index]), 12), 1.0)
        return below_the_plane, max(costs[index]), index

    return min(costs, key=preference)


def hypervolume(costs: Iterable[Point], reference: float = REFERENCE) -> float:
    """How much of the space up to `reference` on every axis these points dominate; exact.

    `costs` are to be small. By the WFG algorithm, in its plain form: the volume of a point alone,
    less what the points after it have of that (L. While, L. Bradstreet and L. Barone, "A fast way
    of calculating exact hypervolumes", IEEE Trans. Evolutionary Computation 16(1), 2012).
    """
    inside = {cost for cost in costs if all(value < reference for value in cost)}
    return _volume(_front_of(sorted(inside)), reference)


def hypervolumes(points: Sequence[Point], directions: Sequence[Direction]) -> list[float]:
    """After each point, the share of the largest volume possible that all points up to it dominate.

    Scaled by the front of all points, so the shares of one list can be compared, and those of two
    lists can't. The last is the largest.
    """
    if not points:
        return []
    scale = Scale.of(points, directions)
    whole = REFERENCE ** len(directions)
    front: list[Point] = []
    shares: list[float] = []
    volume = 0.0
    for point in points:
        cost = scale.scaled(point)
        is_inside = all(value < REFERENCE for value in cost)
        if is_inside and not any(_dominates(kept, cost) or kept == cost for kept in front):
            volume += _exclusive([cost, *front], 0, REFERENCE)
            front = [cost, *(kept for kept in front if not _dominates(cost, kept))]
        shares.append(volume / whole)
    return shares


def costs_of(point: Point, directions: Sequence[Direction]) -> Point:
    """The point with every measure turned so that less is better."""
    return tuple(
        _cost(value, direction) for value, direction in zip(point, directions, strict=True)
    )


def _volume(front: Sequence[Point], reference: float) -> float:
    if front and len(front[0]) == 2:
        return _area(front, reference)
    return sum(_exclusive(front, index, reference) for index in range(len(front)))


def _exclusive(front: Sequence[Point], index: int, reference: float) -> float:
    """What the point dominates and none of those after it."""
    own = front[index]
    limited = {tuple(map(max, own, other)) for other in front[index + 1 :]}
    return math.prod(reference - value for value in own) - _volume(
        _front_of(sorted(limited)), reference
    )


def _area(front: Sequence[Point], reference: float) -> float:
    """Of points in ascending order of the first measure."""
    area, height = 0.0, reference
    for first, second in front:
        if second < height:
            area += (reference - first) * (height - second)
            height = second
    return area


def _front_of(ordered: Sequence[Point]) -> list[Point]:
    front: list[Point] = []
    for point in ordered:
        if not any(_dominates(kept, point) for kept in front):
            front.append(point)
    return front


def _dominates(left: Point, right: Point) -> bool:
    return left != right and all(a <= b for a, b in zip(left, right, strict=True))


def _cost(value: float, direction: Direction) -> float:
    return value if direction is Direction.MINIMIZE else -value
