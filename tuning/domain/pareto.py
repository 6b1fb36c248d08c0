"""Which of many measured configurations are worth a choice when two measures pull apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuning.domain.metrics import Direction


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


def _cost(value: float, direction: Direction) -> float:
    return value if direction is Direction.MINIMIZE else -value
