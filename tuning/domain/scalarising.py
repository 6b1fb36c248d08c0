"""One score out of several objectives, so that any search strategy can look for a whole front.

ParEGO (J. Knowles, "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive
multiobjective optimization problems", IEEE Trans. Evolutionary Computation 10(1), 2006): for each
proposal the objectives are weighed anew at random, and the strategy improves one number, the
augmented Tchebycheff function of the scaled costs f with weights w,

    g = max(w * f) + RHO * sum(w * f)

whose minima for all weights are the Pareto front. Costs are scaled by the front found so far, so
that a few configurations that are very bad do not make all others look alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

from tuning.domain.metrics import Direction
from tuning.domain.pareto import Point, Scale

Key = TypeVar("Key")

RHO = 0.05
"""How much the weighted sum counts beside the maximum: without it, weakly dominated points win."""

WORST = 5.0
"""So many times the extent of the front away, one configuration is as bad as another."""


def weights(count: int, seed: int, proposal: int) -> Point:
    """Weights of `count` objectives for one proposal of a task: they add up to 1, and all such
    weights are equally likely."""
    rng = Random(f"{seed}/{proposal}")
    # Exponential variables, scaled to add up to 1, are uniform on the simplex.
    drawn = [rng.expovariate(1.0) for _ in range(count)]
    total = sum(drawn)
    return tuple(value / total for value in drawn)


def scalarised(
    scores: Mapping[Key, Point],
    directions: Sequence[Direction],
    weighting: Point,
    scaled_by: Sequence[Key],
) -> dict[Key, float]:
    """One score for each of `scores`, above 0 and in the direction of the first objective.

    The scale is the front of the points named in `scaled_by`; of all points, when it names none.
    """
    if not scores:
        return {}
    scale = Scale.of([scores[key] for key in scaled_by] or list(scores.values()), directions)
    return {
        key: _in_direction(_tchebycheff(scale.scaled(point), weighting), directions[0])
        for key, point in scores.items()
    }


def _tchebycheff(costs: Point, weighting: Point) -> float:
    weighted = [weight * cost for weight, cost in zip(weighting, costs, strict=True)]
    return max(weighted) + RHO * sum(weighted)


def _in_direction(cost: float, direction: Direction) -> float:
    """1 at the ideal, and the costs again for a strategy that takes logarithms."""
    bounded = min(cost, WORST)
    return math.exp(bounded if direction is Direction.MINIMIZE else -bounded)
