"""Configurations among which the best proposal is looked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
from tuning.domain.space import ConstraintsTooTight, ParameterSpace

MOST_LISTED = 50_000
"""Spaces of more configurations before constraints are sampled: listing them takes too long."""
MOST_COMPLETE = 5_000
"""Where so few are untried, all of them are candidates."""
SAMPLED = 2_000
"""Of more, so many are candidates, from anywhere."""
TRIES_EACH = 4
"""How many draws there are for one candidate."""
STEP = 0.1
"""How far a neighbour lies from a continuous number, as a share of the range (one deviation)."""
ANYWHERE = 1 / 3
"""How often a changed flag takes any value instead of one beside."""


class Candidates:
    """All untried configurations of a small space; of a large one a sample, and neighbours."""

    def __init__(self, space: ParameterSpace, tried: Iterable[Configuration], rng: Random) -> None:
        self.space = space
        self._rng = rng
        self._flags = space.tuned
        # A baseline sets no tuned flag, and is none of the configurations.
        self._seen = {self._key(one) for one in tried if one.keys() >= set(self._flags)}
        self._listed = self._untried_listing()

    @property
    def is_complete(self) -> bool:
        """True when `sample` gives every configuration that is left."""
        return self._listed is not None and len(self._listed) <= MOST_COMPLETE

    def sample(self) -> list[Configuration]:
        """All untried configurations, or so many of them; none comes again."""
        if self._listed is None:
            return self._new(self._draws(SAMPLED * TRIES_EACH), SAMPLED)
        if self.is_complete:
            return list(self._listed)
        return self._new(iter(self._rng.sample(self._listed, k=SAMPLED)), SAMPLED)

    def near(self, centres: Sequence[Configuration], count: int) -> list[Configuration]:
        """Up to `count` untried configurations that differ from a centre in a flag or two."""
        steps = (self._neighbour(centre) for _ in range(count * TRIES_EACH) for centre in centres)
        return self._new((one for one in steps if self.space.contains(one)), count)

    def _key(self, configuration: Configuration) -> tuple[str, ...]:
        """`1`, `1.0` and `True` are different settings."""
        return tuple([repr(configuration[flag]) for flag in self._flags])

    def _untried_listing(self) -> list[Configuration] | None:
        size = self.space.size
        if size is None or size > MOST_LISTED:
            return None
        return [one for one in self.space.listing(MOST_LISTED) if self._key(one) not in self._seen]

    def _draws(self, tries: int) -> Iterator[Configuration]:
        for _ in range(tries):
            try:
                yield self.space.sample(self._rng)
            except ConstraintsTooTight:
                break

    def _new(self, found: Iterator[Configuration], count: int) -> list[Configuration]:
        kept: list[Configuration] = []
        for configuration in found:
            key = self._key(configuration)
            if key not in self._seen:
                self._seen.add(key)
                kept.append(configuration)
            if len(kept) == count:
                break
        return kept

    def _neighbour(self, centre: Configuration) -> dict[str, FlagValue]:
        """One flag changed, and now and then another."""
        changed = {name: centre[name] for name in self.space.parameters}
        count = min(self._rng.choice((1, 1, 2)), len(self._flags))
        for flag in self._rng.sample(self._flags, k=count):
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
