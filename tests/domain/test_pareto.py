"""The Pareto front of two measures."""

from __future__ import annotations

import random

import pytest

from tuning.domain.metrics import Direction
from tuning.domain.pareto import pareto_front

UP, DOWN = Direction.MAXIMIZE, Direction.MINIMIZE


def test_of_throughput_and_latency_only_the_undominated_remain() -> None:
    # (100, 5) is beaten by (200, 4) in both; (200, 6) by (200, 4) in latency alone.
    points = [(100.0, 5.0), (200.0, 4.0), (300.0, 9.0), (50.0, 1.0), (200.0, 6.0)]

    assert pareto_front(points, (UP, DOWN)) == [2, 1, 3]


@pytest.mark.parametrize(
    ("directions", "front"),
    [((UP, UP), [2]), ((DOWN, DOWN), [0]), ((DOWN, UP), [0, 1, 2]), ((UP, DOWN), [2, 1, 0])],
)
def test_directions_decide_what_is_better(
    directions: tuple[Direction, Direction], front: list[int]
) -> None:
    assert pareto_front([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)], directions) == front


def test_equal_points_are_all_on_the_front() -> None:
    points = [(2.0, 2.0), (1.0, 1.0), (2.0, 2.0), (2.0, 2.0)]

    assert pareto_front(points, (UP, UP)) == [0, 2, 3]


def test_a_tie_in_one_measure_is_decided_by_the_other() -> None:
    assert pareto_front([(5.0, 2.0), (5.0, 1.0)], (UP, DOWN)) == [1]
    assert pareto_front([(4.0, 1.0), (5.0, 1.0)], (UP, DOWN)) == [1]


def test_nothing_has_no_front_and_one_point_is_its_own() -> None:
    assert pareto_front([], (UP, DOWN)) == []
    assert pareto_front([(1.0, 1.0)], (UP, DOWN)) == [0]


def test_agrees_with_the_definition_on_random_points() -> None:
    rng = random.Random(7)
    points = [(float(rng.randint(0, 12)), float(rng.randint(0, 12))) for _ in range(200)]

    def is_dominated(point: tuple[float, float]) -> bool:
        return any(
            other != point and other[0] >= point[0] and other[1] <= point[1] for other in points
        )

    expected = {index for index, point in enumerate(points) if not is_dominated(point)}
    assert set(pareto_front(points, (UP, DOWN))) == expected
