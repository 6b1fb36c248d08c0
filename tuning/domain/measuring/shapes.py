"""Predicting a load that was not measured from one that was, by how other configurations behave.

Between two loads, the values of different configurations of one engine have much the same ratio:
whoever is fast at one is fast at the other. The logarithm of that ratio is taken as normal over the
configurations, with unknown mean and variance. Seeing it in `n` configurations with mean `m` and
sum of squared deviations `S` gives Student's t for the next one: location `m`, scale
`sqrt((w s0² + S) / (w + n - 1) · (1 + 1/n))`, `w + n - 1` degrees of freedom (Gelman et al.,
*Bayesian Data Analysis*, 3rd ed., section 3.3, with an improper prior of the mean). `s0` is what
is expected before anything was seen; it grows with the distance of the loads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

from tuning.domain.distributions import student_t_quantile
from tuning.domain.measuring.loads import Curve, Load
from tuning.domain.metrics import METRICS

SPREAD_PER_OCTAVE = 0.11
"""Expected standard deviation of the logarithm of a ratio for each doubling of the concurrency.

On one half of the recorded deployments that `benchmarks/pruning.py` replays, medians over families
are 0.11, 0.19, 0.19, 0.30, 0.43 for one to five doublings, alike for throughput and latency.
"""
SPREAD_BETWEEN_SCENARIOS = 0.3
"""The same between two traffic scenarios, at whatever concurrencies."""
PRIOR_WEIGHT = 5
"""So many degrees of freedom count as much as the expected spread."""


class Scaling(Enum):
    """What is known of a metric over concurrency before anything was measured.

    A closed loop of `c` clients, each waiting for its answer, completes `c / latency` requests a
    second (Little's law). Latency does not shrink with more clients; throughput, as long as the
    engine is not overwhelmed, does not either.
    """

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    UNKNOWN = "unknown"


def scaling_of(metric: str) -> Scaling:
    unit = METRICS[metric].unit
    if unit in {"tokens/s", "requests/s"}:
        return Scaling.THROUGHPUT
    return Scaling.LATENCY if metric == "e2e_latency_mean_s" else Scaling.UNKNOWN


@dataclass(frozen=True)
class Prediction:
    """Of the logarithm of a value: Student's t distribution. No freedom stands for a normal one."""

    location: float
    scale: float
    freedom: float

    def quantile(self, probability: float) -> float:
        """The value itself, not its logarithm, that is not exceeded with this probability."""
        steps = student_t_quantile(self.freedom, probability)
        return math.exp(min(self.location + self.scale * steps, 700.0))


class Shapes:
    """The ratios between loads that other configurations have shown, for one metric."""

    def __init__(self, curves: Sequence[Curve], metric: str, log_noise: float) -> None:
        self._curves = curves
        self.scaling = scaling_of(metric)
        self._log_noise = log_noise
        self._seen: dict[tuple[Load, Load], tuple[float, ...]] = {}

    def predict(self, load: Load, measured: Curve) -> Prediction | None:
        """What `load` will give, from the measured one that tells most; None where nothing does."""
        found = [self._from(load, near, value) for near, value in measured.items()]
        told = [prediction for prediction in found if prediction is not None]
        return min(told, key=lambda one: one.scale, default=None)

    def _from(self, load: Load, near: Load, value: float) -> Prediction | None:
        ratios = self._ratios(load, near)
        expected = _expected_spread(load, near)
        freedom = PRIOR_WEIGHT + max(len(ratios) - 1, 0)
        if not ratios:
            location = self._law(load, near)
            if location is None:
                return None
            variance = expected**2
        else:
            location = fmean(ratios)
            squares = PRIOR_WEIGHT * expected**2 + sum((one - location) ** 2 for one in ratios)
            variance = squares / freedom * (1 + 1 / len(ratios))
        scale = math.sqrt(variance + self._log_noise**2)
        return Prediction(math.log(value) + location, scale, freedom)

    def _ratios(self, load: Load, near: Load) -> tuple[float, ...]:
        if (load, near) not in self._seen:
            self._seen[load, near] = tuple(
                math.log(curve[load] / curve[near])
                for curve in self._curves
                if load in curve and near in curve
            )
        return self._seen[load, near]

    def _law(self, load: Load, near: Load) -> float | None:
        """The logarithm of the ratio that is the best possible one, before any was seen."""
        if load.scenario != near.scenario or self.scaling is Scaling.UNKNOWN:
            return None
        log_clients = math.log(load.concurrency / near.concurrency)
        if self.scaling is Scaling.THROUGHPUT:
            return max(log_clients, 0.0)
        return min(log_clients, 0.0)


def _expected_spread(load: Load, near: Load) -> float:
    if load.scenario != near.scenario:
        return SPREAD_BETWEEN_SCENARIOS
    return SPREAD_PER_OCTAVE * max(load.octaves_from(near), 0.5)
