"""Whether an engine has more clients than do it good.

Past saturation, further clients only wait: throughput stays where it is, and latency grows with
their number (the knee of Little's law).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tuning.domain.measuring.loads import Curve, Load

LEAST_GAIN = 0.02
"""Throughput that grows less than this, from one concurrency to the next, does not grow."""


@dataclass(frozen=True)
class Saturation:
    """From `below` to `at`, throughput and latency changed by these ratios: 0.5 is half more."""

    below: Load
    at: Load
    throughput: float
    latency: float

    def __str__(self) -> str:
        return (
            f"{self.at.scenario} is saturated: from concurrency {self.below.concurrency} to "
            f"{self.at.concurrency} throughput changed by {self.throughput:+.1%} and latency by "
            f"{self.latency:+.1%}"
        )


def saturation_of(
    throughput: Curve, latency: Curve, scenario: str, log_noise: float
) -> Saturation | None:
    """Between the lowest two neighbouring concurrencies of the scenario that show it, if any do.

    What noise alone may do counts neither as growth of throughput nor of latency.
    """
    loads = sorted(load for load in throughput if load in latency and load.scenario == scenario)
    enough = max(LEAST_GAIN, 2 * log_noise)
    for below, at in pairwise(loads):
        gained = throughput[at] / throughput[below] - 1
        slower = latency[at] / latency[below] - 1
        if gained <= LEAST_GAIN and slower > enough:
            return Saturation(below, at, gained, slower)
    return None
