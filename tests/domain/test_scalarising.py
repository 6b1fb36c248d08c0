"""One score out of several objectives."""

from __future__ import annotations

import math
import random

import pytest

from tuning.domain.metrics import Direction
from tuning.domain.pareto import non_dominated
from tuning.domain.scalarising import scalarised, weights

UP, DOWN = Direction.MAXIMIZE, Direction.MINIMIZE


def test_weights_add_up_to_one_and_follow_from_the_seed() -> None:
    drawn = weights(3, seed=7, proposal=4)

    assert sum(drawn) == pytest.approx(1.0)
    assert all(weight > 0 for weight in drawn)
    assert weights(3, seed=7, proposal=4) == drawn
    assert weights(3, seed=7, proposal=5) != drawn != weights(3, seed=8, proposal=4)


def test_all_weights_are_equally_likely() -> None:
    """On the triangle of three weights each lies below 1/3 with probability 5/9."""
    drawn = [weights(3, 0, proposal) for proposal in range(3_000)]

    for position in range(3):
        assert sum(one[position] for one in drawn) / len(drawn) == pytest.approx(1 / 3, abs=0.02)
        small = sum(one[position] < 1 / 3 for one in drawn) / len(drawn)
        assert small == pytest.approx(5 / 9, abs=0.03)


def test_the_formula_by_hand() -> None:
    scores = {"a": (100.0, 4.0), "b": (300.0, 8.0), "c": (200.0, 5.0)}
    # Scaled to the front, which is all of them: a (1, 0), b (0, 1), c (0.5, 0.25).
    expected = {"a": 0.7 + 0.05 * 0.7, "b": 0.3 + 0.05 * 0.3, "c": 0.35 + 0.05 * (0.35 + 0.075)}

    scored = scalarised(scores, (UP, DOWN), (0.7, 0.3), list(scores))

    assert {key: -math.log(score) for key, score in scored.items()} == pytest.approx(expected)
    assert max(scored, key=scored.__getitem__) == "b"


def test_the_score_is_in_the_direction_of_the_first_objective() -> None:
    scores = {"good": (100.0, 4.0), "bad": (50.0, 8.0)}
    up = scalarised(scores, (UP, DOWN), (0.5, 0.5), list(scores))
    inverted = {key: (1000 - first, second) for key, (first, second) in scores.items()}
    down = scalarised(inverted, (DOWN, DOWN), (0.5, 0.5), list(scores))

    assert up["good"] > up["bad"] > 0
    assert 0 < down["good"] < down["bad"]


@pytest.mark.parametrize("directions", [(UP, DOWN), (DOWN, DOWN, UP)])
def test_the_best_for_any_weights_is_on_the_front(directions: tuple[Direction, ...]) -> None:
    rng = random.Random(2)
    points = {number: tuple(rng.random() for _ in directions) for number in range(60)}
    front = set(non_dominated(list(points.values()), directions))
    winners = set()
    for proposal in range(200):
        weighting = weights(len(directions), 1, proposal)
        scored = scalarised(points, directions, weighting, list(points))
        pick = max if directions[0] is UP else min
        winners.add(pick(scored, key=scored.__getitem__))

    assert winners <= front
    assert len(winners) >= 3


def test_a_score_that_exploded_leaves_the_others_apart() -> None:
    scores = {"a": (100.0, 4.0), "b": (300.0, 8.0), "ruined": (1e-40, 1e43)}

    scored = scalarised(scores, (UP, DOWN), (0.5, 0.3), list(scores))

    assert scored["b"] > scored["a"] > scored["ruined"] > 0


def test_what_is_not_feasible_is_scored_but_does_not_set_the_scale() -> None:
    scores = {"a": (100.0, 4.0), "b": (300.0, 8.0), "breaks a limit": (900.0, 1.0)}
    without = scalarised({key: scores[key] for key in "ab"}, (UP, DOWN), (0.5, 0.5), ["a", "b"])

    scored = scalarised(scores, (UP, DOWN), (0.5, 0.5), ["a", "b"])

    assert {key: scored[key] for key in "ab"} == without
    assert scored["breaks a limit"] > scored["b"]


def test_nothing_measured_scores_nothing_and_nothing_feasible_scales_by_all() -> None:
    assert scalarised({}, (UP, DOWN), (0.5, 0.5), []) == {}
    assert scalarised({"a": (1.0, 1.0)}, (UP, DOWN), (0.5, 0.5), []) == {"a": 1.0}
