"""Whether a configuration that is measured in part can still become the best one.

What it can be worth is told for a probability `tail`: each load that is missing is taken as good as
it is with that probability at most, all of them together, and the best configuration as bad as
noise makes it seem. If even that is no better than the best one, the configuration catches it with
a probability of `tail` at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist, fmean

from tuning.domain.measuring.loads import Curve, Load
from tuning.domain.measuring.noise import Noise
from tuning.domain.measuring.shapes import Prediction, Scaling, Shapes
from tuning.domain.metrics import Direction
from tuning.domain.objectives import Objective

_SMALLEST_TAIL = 1e-6
_HALVINGS = 30


@dataclass(frozen=True)
class Outlook:
    """What one configuration can still be worth.

    `measured` and `missing` are its loads; `penalty` is what broken soft limits have cost it so
    far, which further loads can only raise.
    """

    objective: Objective
    measured: Curve
    missing: Sequence[Load]
    shapes: Shapes
    noise: Noise
    penalty: float = 0.0

    def optimistic_score(self, tail: float) -> float | None:
        """The score that it exceeds with a probability of `tail` at most, noise of what was
        measured left out; None where nothing can be said."""
        values = dict(self.measured)
        for load in self.missing:
            bound = self._bound(load, tail)
            if bound is None:
                return None
            values[load] = bound
        value = reduced(values, self.objective)
        return value * (1 + self.penalty) if self._minimises else value / (1 + self.penalty)

    def chance_to_beat(self, best: float) -> float:
        """At most this probable; 1 where nothing can be said, and for a half and more."""
        if not self.measured or best <= 0 or self._may_beat(best, 0.5) is not False:
            return 1.0
        unlikely, likely = math.log(_SMALLEST_TAIL), math.log(0.5)
        for _ in range(_HALVINGS):
            middle = (unlikely + likely) / 2
            if self._may_beat(best, math.exp(middle)):
                unlikely = middle
            else:
                likely = middle
        return math.exp(likely)

    def adds_nothing(self, load: Load, tail: float) -> bool:
        """True when a maximised objective's value stays the same with that load measured, but for
        a probability of `tail`. A minimised one is a mean over all loads: each one changes it."""
        if self._minimises:
            return False
        rivals = [value for one, value in self.measured.items() if one.scenario == load.scenario]
        bound = self._bound(load, tail) if load in self.missing else None
        return bool(rivals) and bound is not None and bound <= max(rivals)

    def _may_beat(self, best: float, tail: float) -> bool | None:
        optimistic = self.optimistic_score(tail)
        if optimistic is None or optimistic <= 0:
            return None
        # Both scores are measured: the difference of their logarithms has twice the variance.
        margin = NormalDist().inv_cdf(1 - tail) * self.noise.log_sd * math.sqrt(2)
        factor = math.exp(-margin if self._minimises else margin)
        return self.objective.direction.prefers(optimistic * factor, best)

    def _bound(self, load: Load, tail: float) -> float | None:
        """The value at `load` that is exceeded with a probability of `tail` at most.

        Throughput does not fall with concurrency, nor does latency: what bounds it at a load with
        more clients, or fewer, bounds it here as well.
        """
        quantile = tail if self._minimises else 1 - tail
        alike = [one for one in self.missing if one == load or self._is_bounded_by(load, one)]
        known = [self._predictions[one] for one in alike]
        bounds = [one.quantile(quantile) for one in known if one is not None]
        if not bounds:
            return None
        return max(bounds) if self._minimises else min(bounds)

    def _is_bounded_by(self, load: Load, other: Load) -> bool:
        if load.scenario != other.scenario:
            return False
        if self._minimises:
            return self.shapes.scaling is Scaling.LATENCY and other < load
        return self.shapes.scaling is Scaling.THROUGHPUT and other > load

    @property
    def _minimises(self) -> bool:
        return self.objective.direction is Direction.MINIMIZE

    @cached_property
    def _predictions(self) -> dict[Load, Prediction | None]:
        return {load: self.shapes.predict(load, self.measured) for load in self.missing}


def reduced(values: Curve, objective: Objective) -> float:
    """The value of an experiment with these, as `tuning.domain.objectives` reduces them."""
    if objective.direction is Direction.MINIMIZE:
        return fmean(values.values())
    best: dict[str, float] = {}
    for load, value in values.items():
        best[load.scenario] = max(value, best.get(load.scenario, value))
    return fmean(best.values())
