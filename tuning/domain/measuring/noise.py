"""How much a measurement varies when nothing has changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import variance

from tuning.domain.measuring.loads import by_load, positive_values
from tuning.domain.objectives import MeasuredPoint

PRIOR_CV = 0.02
"""Coefficient of variation that is expected before anything was repeated.

Repeated measurements of throughput and mean latency on an undisturbed GPU or CPU mostly differ by
1 % to 3 %.
"""
PRIOR_WEIGHT = 4
"""So many degrees of freedom of repeats count as much as the expectation."""


@dataclass(frozen=True)
class Noise:
    """`log_sd` is the standard deviation of the logarithm of a measured value, which for a few per
    cent is the coefficient of variation. `repeats` is how many repeats it was learned from."""

    log_sd: float
    repeats: int = 0

    def __str__(self) -> str:
        origin = f"from {self.repeats} repeats" if self.repeats else "expected, nothing repeated"
        return f"{self.log_sd:.1%} ({origin})"


def noise_of(configurations: Iterable[Sequence[MeasuredPoint]], metric: str) -> Noise:
    """The variation between repeats of the same load in the same launch, over all configurations.

    The pooled variance of the logarithms, drawn towards `PRIOR_CV` like the mean of an inverse
    gamma distribution: the fewer repeats there are, the more.
    """
    squares = PRIOR_WEIGHT * PRIOR_CV**2
    freedom = 0
    for points in configurations:
        for repeats in by_load(points).values():
            logs = [math.log(value) for value in positive_values(repeats, metric)]
            if len(logs) > 1:
                squares += variance(logs) * (len(logs) - 1)
                freedom += len(logs) - 1
    return Noise(math.sqrt(squares / (PRIOR_WEIGHT + freedom)), freedom)
