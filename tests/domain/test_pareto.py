"""Pareto fronts, their knees and their hypervolumes."""

from __future__ import annotations

import math
import random

import pytest

from tuning.domain.metrics import Direction
from tuning.domain.pareto import (
    REFERENCE,
    Scale,
    hypervolume,
    hypervolumes,
    knee,
    non_dominated,
    pareto_front,
)

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


# --- Any number of measures ---


def points_of(count: int, measures: int, seed: int = 5) -> list[tuple[float, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.random() for _ in range(measures)) for _ in range(count)]


def test_of_two_measures_both_ways_find_the_same_front() -> None:
    points = [(first, second) for first, second in points_of(300, 2)]

    assert non_dominated(points, (UP, DOWN)) == pareto_front(points, (UP, DOWN))


@pytest.mark.parametrize("directions", [(DOWN, DOWN, DOWN), (UP, DOWN, UP), (DOWN, UP, UP, DOWN)])
def test_many_measures_agree_with_the_definition(directions: tuple[Direction, ...]) -> None:
    points = points_of(120, len(directions))

    def dominates(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
        return left != right and not any(
            direction.prefers(b, a) for a, b, direction in zip(left, right, directions, strict=True)
        )

    expected = {
        index
        for index, point in enumerate(points)
        if not any(dominates(other, point) for other in points)
    }
    assert set(non_dominated(points, directions)) == expected


def test_the_scale_runs_from_the_best_to_the_worst_of_the_front() -> None:
    # (9, 9) is dominated, and does not stretch the scale.
    scale = Scale.of([(1.0, 5.0), (3.0, 1.0), (9.0, 9.0)], (DOWN, DOWN))

    assert scale.scaled((1.0, 5.0)) == (0.0, 1.0)
    assert scale.scaled((3.0, 1.0)) == (1.0, 0.0)
    assert scale.scaled((9.0, 9.0)) == (4.0, 2.0)


def test_a_front_of_one_point_is_scaled_by_all_the_others() -> None:
    scale = Scale.of([(10.0, 1.0), (5.0, 3.0)], (UP, DOWN))

    assert scale.scaled((10.0, 1.0)) == (0.0, 0.0)
    assert scale.scaled((5.0, 3.0)) == (1.0, 1.0)
    assert Scale.of([(2.0, 2.0)], (UP, DOWN)).scaled((2.0, 2.0)) == (0.0, 0.0)


# --- The knee ---


def test_the_knee_is_farthest_from_the_line_between_the_extremes() -> None:
    # On the line from (0, 10) to (10, 0) the sum is 10; (2, 3) is the farthest below it.
    front = [(0.0, 10.0), (1.0, 6.0), (2.0, 3.0), (6.0, 1.5), (10.0, 0.0)]
    distances = [abs(first + second - 10) / math.sqrt(2) for first, second in front]

    assert knee(front, (DOWN, DOWN)) == distances.index(max(distances)) == 2


def test_the_knee_does_not_depend_on_units_or_directions() -> None:
    front = [(0.0, 10.0), (1.0, 6.0), (2.0, 3.0), (6.0, 1.5), (10.0, 0.0)]
    turned = [(-1000 * first, second / 7) for first, second in front]

    assert knee(turned, (UP, DOWN)) == 2


def test_where_nothing_bulges_the_knee_is_the_most_balanced() -> None:
    assert knee([(5.0, 5.0), (0.0, 6.0), (4.0, 4.0), (6.0, 0.0)], (DOWN, DOWN)) == 2


def test_of_three_measures_the_balanced_one_is_the_knee() -> None:
    corners = [(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)]

    assert knee([*corners, (0.3, 0.3, 0.3)], (DOWN, DOWN, DOWN)) == 3


def test_nothing_has_no_knee_and_two_extremes_take_the_first() -> None:
    assert knee([], (DOWN, DOWN)) is None
    assert knee([(1.0, 2.0), (2.0, 1.0)], (DOWN, DOWN)) == 0


# --- Hypervolume ---


def test_the_area_by_hand() -> None:
    assert hypervolume([(0.5, 0.5)], 1.0) == pytest.approx(0.25)
    # Two steps of a staircase: 0.8 * 0.4 and, to the left of it, 0.2 more times 0.4.
    assert hypervolume([(0.2, 0.6), (0.6, 0.2)], 1.0) == pytest.approx(0.8 * 0.4 + 0.4 * 0.4)


def test_the_volume_by_hand() -> None:
    # Inclusion and exclusion of two boxes.
    expected = 0.5 * 0.8 * 0.9 + 0.9 * 0.6 * 0.7 - 0.5 * 0.6 * 0.7
    assert hypervolume([(0.5, 0.2, 0.1), (0.1, 0.4, 0.3)], 1.0) == pytest.approx(expected)


@pytest.mark.parametrize("measures", [2, 3, 4])
def test_agrees_with_counting_random_places(measures: int) -> None:
    points, places = points_of(25, measures), points_of(20_000, measures, seed=11)
    hit = sum(any(all(map(float.__le__, point, place)) for point in points) for place in places)

    assert hypervolume(points, 1.0) == pytest.approx(hit / len(places), abs=0.01)


def test_points_beyond_the_reference_count_for_nothing() -> None:
    assert hypervolume([(0.5, 0.5), (0.1, 1.0), (2.0, 0.0)], 1.0) == pytest.approx(0.25)
    assert hypervolume([], 1.0) == 0.0


@pytest.mark.parametrize("directions", [(UP, DOWN), (DOWN, DOWN, UP), (DOWN, UP, UP, DOWN)])
def test_over_time_it_is_that_of_all_points_so_far(directions: tuple[Direction, ...]) -> None:
    points = points_of(60, len(directions))
    scale = Scale.of(points, directions)
    whole = REFERENCE ** len(directions)

    assert hypervolumes(points, directions) == pytest.approx(
        [
            hypervolume(map(scale.scaled, points[: count + 1])) / whole
            for count in range(len(points))
        ]
    )


def test_over_time_it_never_shrinks_and_one_point_is_enough_to_begin() -> None:
    shares = hypervolumes(points_of(80, 2), (UP, UP))

    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    assert hypervolumes([(4.0, 2.0)], (UP, DOWN)) == [pytest.approx(1.0)]
    assert hypervolumes([], (UP, DOWN)) == []
