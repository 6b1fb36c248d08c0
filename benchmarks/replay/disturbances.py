"""What a replay adds to a record: noise of the measurements, and configurations that fail."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from benchmarks.replay.family import Family, Outcome
from tuning.domain.failures import FailureKind
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Configuration
from tuning.domain.space import configuration_hash

FEWEST_LAUNCHES_LOST_S = 60.0
"""Seconds until an injected failure shows, as an engine that runs out of memory while starting."""

REGIONS_TRIED = 400


@dataclass(frozen=True)
class Disturbances:
    """`failing_share` of the configurations fail in one region; `noise_cv` is the coefficient of
    variation of each measured value (log-normal, so that no value gets negative)."""

    failing_share: float = 0.0
    noise_cv: float = 0.0

    def __str__(self) -> str:
        return f"failures {self.failing_share:.0%}, noise {self.noise_cv:.0%}"


def with_failing_region(family: Family, share: float, rng: Random) -> tuple[Family, frozenset[str]]:
    """The family with about `share` of its configurations failing, and the hashes of these.

    Memory runs out where two flags are large together, a backend lacks one data type: so the
    region is a box of one or two flags, of those that hold about `share` of the configurations.
    The best configuration is spared; otherwise the family would be another one.
    """
    if share <= 0:
        return family, frozenset()
    best = min(family.configurations, key=lambda one: family.shortfall(family.outcome(one)))
    regions = [_region(family, rng) for _ in range(REGIONS_TRIED)]
    spared = [region for region in regions if region and configuration_hash(best) not in region]
    if not spared:
        return family, frozenset()
    wanted = share * len(family.configurations)
    region = min(spared, key=lambda hashes: abs(math.log(len(hashes) / wanted)))
    outcomes = {
        key: _out_of_memory(outcome) if key in region else outcome
        for key, outcome in family.outcomes.items()
    }
    return replace(family, outcomes=outcomes), region


def _region(family: Family, rng: Random) -> frozenset[str]:
    flags = rng.sample(family.space.tuned, k=min(rng.choice((1, 2)), len(family.space.tuned)))
    allowed = {flag: _box(list(family.space.parameters[flag].values()), rng) for flag in flags}
    inside = [one for one in family.configurations if _is_inside(one, allowed)]
    return frozenset(configuration_hash(one) for one in inside)


def _box(values: list[FlagValue], rng: Random) -> list[FlagValue]:
    """The upper or lower end of a number's values, or some values of anything else."""
    if any(isinstance(value, str) for value in values):
        return rng.sample(values, k=rng.randint(1, max(1, len(values) - 1)))
    cut = rng.randint(1, max(1, len(values) - 1))
    return values[cut:] if rng.random() < 0.5 else values[:cut]


def _is_inside(configuration: Configuration, allowed: dict[str, list[FlagValue]]) -> bool:
    return all(configuration[flag] in values for flag, values in allowed.items())


def _out_of_memory(outcome: Outcome) -> Outcome:
    spent_s = min(outcome.gpu_s, FEWEST_LAUNCHES_LOST_S)
    return Outcome(value=None, gpu_s=spent_s, failure=FailureKind.OUT_OF_MEMORY)


def noisy(outcome: Outcome, noise_cv: float, rng: Random) -> Outcome:
    """The outcome as a measurement with this noise gives it."""
    if noise_cv <= 0 or outcome.value is None:
        return outcome
    return replace(outcome, value=measured(outcome.value, noise_cv, rng))


def measured(value: float, noise_cv: float, rng: Random) -> float:
    """What one measurement of `value` gives: log-normal, with this coefficient of variation."""
    return value * math.exp(rng.gauss(0.0, math.sqrt(math.log1p(noise_cv**2))))
