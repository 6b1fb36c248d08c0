"""Configurations among which the best proposal is looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from tuning.domain.names import FlagValue
from tuning.domain.parameters import (
    Choices,
    Configuration,
    Fixed,
    FloatRange,
    IntRange,
    Parameter,
    same_value,
)
from tuning.domain.space import (
    LISTING_LIMIT,
    ConstraintsTooTight,
    ParameterSpace,
    configuration_hash,
)

MOST_CANDIDATES = 600
MOST_LISTED = 50_000
"""Spaces of more configurations before constraints are sampled: listing them takes too long."""
TRIES_EACH = 4
"""How many draws there are for one candidate."""
STEP = 0.1
"""How far a neighbour lies from a continuous number, as a share of the range (one deviation)."""
ANYWHERE = 1 / 3
"""How often a changed flag takes any value instead of one beside."""


class Candidates:
    """All untried configurations of a small space; of a large one a sample, and neighbours."""

    def __init__(self, space: ParameterSpace, tried: set[str], rng: Random) -> None:
        self.space = space
        self._rng = rng
        self._seen = set(tried)
        self._listed = self._untried_listing()

    @property
    def is_complete(self) -> bool:
        """True when `sample` gives every configuration that is left."""
        return self._listed is not None and len(self._listed) <= MOST_CANDIDATES

    def sample(self, count: int) -> list[Configuration]:
        """Up to `count` untried configurations; none of them comes again."""
        if self.is_complete:
            listed, self._listed = self._listed or [], []
            return listed
        if self._listed is not None:
            return self._new(iter(self._rng.sample(self._listed, k=len(self._listed))), count)
        return self._new(self._draws(count * TRIES_EACH), count)

    def near(self, centres: Sequence[Configuration], count: int) -> list[Configuration]:
        """Up to `count` untried configurations that differ from a centre in a flag or two."""
        steps = (self._neighbour(centre) for _ in range(count * TRIES_EACH) for centre in centres)
        return self._new((one for one in steps if self.space.contains(one)), count)

    def _untried_listing(self) -> list[Configuration] | None:
        size = self.space.size
        limit = MOST_LISTED if self.space.constraints else LISTING_LIMIT
        if size is None or size > limit:
            return None
        return [
            one for one in self.space.listing(limit) if configuration_hash(one) not in self._seen
        ]

    def _draws(self, tries: int) -> Iterator[Configuration]:
        for _ in range(tries):
            try:
                yield self.space.sample(self._rng)
            except ConstraintsTooTight:
                break

    def _new(self, found: Iterator[Configuration], count: int) -> list[Configuration]:
        kept: list[Configuration] = []
        for configuration in found:
            key = configuration_hash(configuration)
            if key not in self._seen:
                self._seen.add(key)
                kept.append(configuration)
            if len(kept) == count:
                break
        return kept

    def _neighbour(self, centre: Configuration) -> dict[str, FlagValue]:
        """One flag changed, and now and then another."""
        changed = {name: centre[name] for name in self.space.parameters}
        count = min(self._rng.choice((1, 1, 2)), len(self.space.tuned))
        for flag in self._rng.sample(self.space.tuned, k=count):
            changed[flag] = _step(self.space.parameters[flag], changed[flag], self._rng)
        return changed


def _step(parameter: Parameter, value: FlagValue, rng: Random) -> FlagValue:
    """A value beside this one where values have an order, and often any other value."""
    if rng.random() < ANYWHERE or isinstance(value, str | bool):
        return parameter.sample(rng)
    if isinstance(parameter, FloatRange) and parameter.step is None:
        spread = STEP * (parameter.high - parameter.low)
        return min(max(rng.gauss(value, spread), parameter.low), parameter.high)
    if isinstance(parameter, Fixed) or parameter.cardinality is None:
        return value
    place = _place(parameter, value) + rng.choice((-1, 1))
    return parameter.value_at(min(max(place, 0), parameter.cardinality - 1))


def _place(parameter: Choices | IntRange | FloatRange, value: float) -> int:
    """Where a value stands among those of a flag, which rise evenly or are few."""
    if isinstance(parameter, Choices):
        return next(
            (place for place, one in enumerate(parameter.options) if same_value(one, value)), 0
        )
    if parameter.log and parameter.step is None:
        return list(parameter.values()).index(value) if parameter.contains(value) else 0
    return round((value - parameter.low) / (parameter.step or 1))
