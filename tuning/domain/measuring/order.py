"""Which load to measure next: the one after which least time is expected to be spent.

Measuring a load costs its time. Afterwards the configuration is either decided (it can't catch the
best one, or breaks a limit) or the rest has to be measured too. So the expected time is

    cost(load) + P(undecided after it) · cost(the rest)

A configuration stays undecided when its distance from the best one is smaller than what its value
still may turn out to be: with a distance that is normal over configurations with standard deviation
`G` (of logarithms), and a remaining uncertainty `u`, `P = 2 Φ(z u / G) - 1`. The uncertainty is
that of each load that is missing then, predicted from those that are measured, times its share in
the value: of a minimised metric's sum, or how often a maximised one had its maximum there.

With as many requests for each load, which is what a task file says, a higher concurrency costs
less time and decides more, so that it mostly comes first. Where time grows with the concurrency,
one in the middle does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from tuning.domain.measuring.catching import reduced
from tuning.domain.measuring.loads import Curve, Load
from tuning.domain.measuring.shapes import Shapes
from tuning.domain.metrics import Direction
from tuning.domain.objectives import Objective

DECIDED_AT = 2.0
"""`z`: a distance of so many uncertainties decides."""
EXPECTED_DISTANCE = 0.3
"""`G` before two configurations were measured."""
LEAST_DISTANCE = 0.03
_UNPREDICTABLE = 2.0
"""The uncertainty of a load that nothing tells of, in logarithms: a factor of seven."""


@dataclass(frozen=True)
class Experience:
    """What the configurations before have shown.

    `curves` are theirs for the objective's metric; `costs` are the seconds that each load takes;
    `breaking` is the share of them that broke a hard limit at a load.
    """

    objective: Objective
    curves: Sequence[Curve]
    shapes: Shapes
    costs: Mapping[Load, float]
    breaking: Mapping[Load, float]

    def next_load(self, measured: Curve, missing: Sequence[Load]) -> Load:
        """The load of `missing` to measure now; the first of equals.

        Raises:
            ValueError: nothing is missing.
        """
        shares = self._shares([*measured, *missing])
        return min(missing, key=lambda load: self._expected_s(load, measured, missing, shares))

    def _expected_s(
        self, load: Load, measured: Curve, missing: Sequence[Load], shares: Mapping[Load, float]
    ) -> float:
        rest = [one for one in missing if one != load]
        # Only the distance between loads matters to a prediction's scale, not the value.
        known = {**measured, load: 1.0}
        uncertainty = sum(shares[one] * self._scale(one, known) for one in rest)
        undecided = self._undecided(uncertainty) * (1 - self.breaking.get(load, 0.0))
        return self._cost(load) + undecided * sum(self._cost(one) for one in rest)

    def _undecided(self, uncertainty: float) -> float:
        return 2 * NormalDist().cdf(DECIDED_AT * uncertainty / self._distance) - 1

    @property
    def _distance(self) -> float:
        """How far apart configurations are, as the standard deviation of their logarithms."""
        measured = [curve for curve in self.curves if curve]
        whole = max(map(len, measured), default=0)
        values = [
            math.log(reduced(curve, self.objective)) for curve in measured if len(curve) == whole
        ]
        return max(stdev(values), LEAST_DISTANCE) if len(values) > 2 else EXPECTED_DISTANCE

    def _scale(self, load: Load, known: Curve) -> float:
        prediction = self.shapes.predict(load, known)
        return _UNPREDICTABLE if prediction is None else min(prediction.scale, _UNPREDICTABLE)

    def _cost(self, load: Load) -> float:
        return self.costs.get(load, 0.0)

    def _shares(self, loads: Sequence[Load]) -> dict[Load, float]:
        """How much of the value each load makes out; 1 in all."""
        whole = [curve for curve in self.curves if all(load in curve for load in loads)]
        if self.objective.direction is Direction.MINIMIZE:
            return _shares_of_sum(whole, loads)
        return _shares_of_maxima(whole, loads)


def _shares_of_sum(curves: Sequence[Curve], loads: Sequence[Load]) -> dict[Load, float]:
    """Before anything was measured, latencies are taken to grow with the root of concurrency."""
    expected = {load: math.sqrt(load.concurrency) for load in loads}
    each = [_of_one({load: curve[load] for load in loads}) for curve in [*curves, expected]]
    return {load: fmean(share[load] for share in each) for load in loads}


def _of_one(values: Mapping[Load, float]) -> dict[Load, float]:
    total = sum(values.values())
    return {load: value / total for load, value in values.items()}


def _shares_of_maxima(curves: Sequence[Curve], loads: Sequence[Load]) -> dict[Load, float]:
    """Before anything was measured, the highest concurrency is taken to give most."""
    votes = dict.fromkeys(loads, 0.0)
    for scenario in {load.scenario for load in loads}:
        rivals = [load for load in loads if load.scenario == scenario]
        votes[max(rivals)] += 1
        for curve in curves:
            votes[max(rivals, key=lambda load: curve[load])] += 1
    return _of_one(votes)
