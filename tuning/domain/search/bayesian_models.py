"""What is believed of configurations that were not tried: value, limits, failing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr, logsumexp

from tuning.domain.search.bayesian_encoding import Array, Encoding, Flags, Places
from tuning.domain.search.bayesian_evidence import Evidence
from tuning.domain.search.gaussian_process import OWN_TASK, Ensemble, Points

WELL_WITHIN = -1.0
"""A limit whose metric never came as near as this to it (as a logarithm) is not modelled."""

HARDLY_WORKS = 0.2
LAST_OF_ALL = 20.0
"""A configuration that works with a probability below this gets so much less merit."""


class ValueModel:
    """The objective, standardised so that larger is better.

    `points` and `values` are those of this task first and then of earlier ones, whose numbers are
    in `tasks`; `weights` say how likely each of those is of any use.
    """

    def __init__(
        self,
        encoding: Encoding,
        points: Array,
        values: Array,
        tasks: Places,
        weights: Sequence[float],
        rng: np.random.Generator,
    ) -> None:
        self._encoding = encoding
        self._points, self._values, self._tasks = points, values, tasks
        self._ensemble = Ensemble(encoding.is_name, weights)
        self._ensemble.fit(self._measured(), values, rng)

    def believe(self, points: Array) -> None:
        """Take what is expected of unfinished trials for measured (D. Ginsbourger et al., "Kriging
        is well-suited to parallelize optimization", 2010), so that no twin is proposed."""
        mean, _ = self.predict(points)
        self._points = np.vstack([self._points, points])
        self._values = np.concatenate([self._values, mean.mean(axis=0)])
        self._tasks = np.concatenate([self._tasks, np.full(len(points), OWN_TASK)])
        self._ensemble.condition(self._measured(), self._values)

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Mean and deviation by each member of the ensemble: (members, points)."""
        return self._ensemble.predict(self._encoding.apart(self._points, points))

    def log_improvement(self, points: Array, best: float) -> Array:
        """The logarithm of the improvement on `best` that is to be expected at each point.

        Expected improvement: D. R. Jones et al., "Efficient Global Optimization of Expensive
        Black-Box Functions", 1998; its logarithm, which is exact where the improvement itself
        would be rounded to 0: S. Ament et al., "Unexpected Improvements to Expected Improvement
        for Bayesian Optimization", NeurIPS 2023.
        """
        mean, deviation = self.predict(points)
        logs = np.log(deviation) + _log_h((mean - best) / deviation)
        return _log_mean(logs)

    def _measured(self) -> Points:
        return Points(self._encoding.apart(self._points, self._points), self._tasks)


class LimitModel:
    """One limit: the logarithm of how many times it is broken, at most 0 where it holds."""

    def __init__(
        self, encoding: Encoding, points: Array, excesses: Array, rng: np.random.Generator
    ) -> None:
        self._encoding, self._points = encoding, points
        self._mean = float(excesses.mean())
        self._deviation = max(float(excesses.std()), 1e-6)
        self._ensemble = Ensemble(encoding.is_name)
        own = Points(encoding.apart(points, points), np.full(len(points), OWN_TASK))
        self._ensemble.fit(own, (excesses - self._mean) / self._deviation, rng)

    def log_probability(self, points: Array) -> Array:
        """The logarithm of the probability that the limit holds at each point."""
        mean, deviation = self._ensemble.predict(self._encoding.apart(self._points, points))
        limit = -self._mean / self._deviation
        return _log_mean(log_ndtr((limit - mean) / deviation))


class FailureModel(LimitModel):
    """Whether a configuration fails by itself: a limit on a number that is 1 for a failure and -1
    for a success (least squares classification; Rasmussen and Williams, section 6.5)."""

    def __init__(
        self, encoding: Encoding, points: Array, failed: Flags, rng: np.random.Generator
    ) -> None:
        super().__init__(encoding, points, np.where(failed, 1.0, -1.0), rng)

    def log_probability(self, points: Array) -> Array:
        """As of a limit; what hardly ever works comes after everything else."""
        log_success = super().log_probability(points)
        hopeless = log_success < math.log(HARDLY_WORKS)
        log_success[hopeless] -= LAST_OF_ALL
        return log_success


def limit_models(
    evidence: Evidence, encoding: Encoding, rng: np.random.Generator
) -> list[LimitModel]:
    """A model for each limit that was ever broken or nearly so, and one for failing.

    Measured trials teach limits. Those that failed by themselves teach failing, and infrastructure
    faults teach nothing.
    """
    measured = encoding.points(evidence.measured)
    models: list[LimitModel] = [
        LimitModel(encoding, measured, column, rng)
        for column in evidence.excesses.T
        if column.max() > WELL_WITHIN
    ]
    if evidence.failed.any() and not evidence.failed.all():
        launched = encoding.points(evidence.launched)
        models.append(FailureModel(encoding, launched, evidence.failed, rng))
    return models


def _log_h(z: Array) -> Array:
    """log(phi(z) + z Phi(z)), also far below 0, where the sum cancels: phi(z) / z^2 there."""
    log_density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    low = np.minimum(z, -6.0)
    far = log_density - 2 * np.log(-low) + np.log1p(-3 / low**2)
    high = np.maximum(z, -6.0)
    near = np.log(np.exp(-0.5 * high**2) / math.sqrt(2 * math.pi) + high * np.exp(log_ndtr(high)))
    log_h: Array = np.where(z < -6.0, far, near)
    return log_h


def _log_mean(logs: Array) -> Array:
    mean: Array = logsumexp(logs, axis=0) - math.log(len(logs))
    return mean
