"""The space of all configurations that a task may try."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from tuning.domain.constraints import Constraint
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Configuration, Fixed, Parameter

LISTING_LIMIT = 10_000
MAX_REJECTIONS = 200_000
"""How many candidates in a row the constraints may reject before enumeration gives up."""
MAX_TRIES = 10_000
"""How many draws in a row the constraints may reject before sampling gives up."""

_HASH_LENGTH = 16


class SpaceError(Exception):
    """Raised when the space can't give what was asked of it. Its text is for the user."""


class SpaceTooLarge(SpaceError):
    """Raised when a space was to be listed that is too large for that."""


class ConstraintsTooTight(SpaceError):
    """Raised when the constraints reject so much that no further configuration was found."""

    def __init__(self, constraints: Sequence[Constraint], candidates: int) -> None:
        listed = "; ".join(constraint.text for constraint in constraints)
        super().__init__(
            f"{candidates} candidates in a row break the constraints ({listed}). "
            "Loosen them, or leave out values that can never satisfy them."
        )


def configuration_hash(parameters: Configuration) -> str:
    """A short key of a configuration, the same in any order of its flags.

    The first 16 hexadecimal digits of the SHA-256 of its canonical JSON. `1`, `1.0` and `True`
    are different settings and give different keys.
    """
    canonical = json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_LENGTH]


class ParameterSpace:
    """The configurations that declared parameters allow and constraints do not forbid.

    Immutable. Nothing is enumerated before it is asked for.
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], constraints: Sequence[Constraint] = ()
    ) -> None:
        self.parameters = dict(parameters)
        self.constraints = tuple(constraints)
        self._checks = self._constraints_by_last_flag()

    @property
    def fixed(self) -> dict[str, FlagValue]:
        """The flags that every configuration has, with their values."""
        return {
            name: parameter.value
            for name, parameter in self.parameters.items()
            if isinstance(parameter, Fixed)
        }

    @property
    def tuned(self) -> tuple[str, ...]:
        """The names of the flags that are searched over, in the order of the task file."""
        return tuple(
            name for name, parameter in self.parameters.items() if not isinstance(parameter, Fixed)
        )

    @property
    def size(self) -> int | None:
        """How many configurations there are before constraints; None when one is continuous."""
        cardinalities = [parameter.cardinality for parameter in self.parameters.values()]
        if None in cardinalities:
            return None
        return math.prod(count for count in cardinalities if count is not None)

    def baseline(self) -> dict[str, FlagValue]:
        """The engine with none of the tuned flags: what a user gets without tuning."""
        return self.fixed

    def configurations(self) -> Iterator[dict[str, FlagValue]]:
        """All configurations, lazily and always in the same order: the last flag changes fastest.

        Raises:
            SpaceTooLarge: a parameter is continuous. Raised when the first one is asked for.
            ConstraintsTooTight: `MAX_REJECTIONS` candidates in a row break a constraint.
        """
        self._refuse_continuous()
        rejections = 0
        for configuration in self._walk({}, list(self.parameters)):
            if configuration is not None:
                rejections = 0
                yield configuration
                continue
            rejections += 1
            if rejections >= MAX_REJECTIONS:
                raise ConstraintsTooTight(self.constraints, rejections)

    def listing(self, limit: int = LISTING_LIMIT) -> list[dict[str, FlagValue]]:
        """All configurations at once.

        Raises:
            SpaceTooLarge: there are more than `limit`, or a parameter is continuous.
            ConstraintsTooTight: as for `configurations`.
        """
        size = self.size
        if size is not None and size > limit and not self.constraints:
            raise self._too_large(limit)
        listed: list[dict[str, FlagValue]] = []
        for configuration in self.configurations():
            if len(listed) == limit:
                raise self._too_large(limit)
            listed.append(configuration)
        return listed

    def sample(self, rng: Random) -> dict[str, FlagValue]:
        """One configuration at random.

        Raises:
            ConstraintsTooTight: `MAX_TRIES` draws in a row break a constraint.
        """
        for _ in range(MAX_TRIES):
            drawn = {name: parameter.sample(rng) for name, parameter in self.parameters.items()}
            if self._allows(drawn):
                return drawn
        raise ConstraintsTooTight(self.constraints, MAX_TRIES)

    def contains(self, configuration: Configuration) -> bool:
        """True when the configuration is one of this space, with its fixed flags."""
        return (
            configuration.keys() == self.parameters.keys()
            and all(self.parameters[name].contains(value) for name, value in configuration.items())
            and self._allows(configuration)
        )

    def _allows(self, configuration: Configuration) -> bool:
        return all(constraint.is_satisfied_by(configuration) for constraint in self.constraints)

    def _walk(
        self, chosen: dict[str, FlagValue], remaining: list[str]
    ) -> Iterator[dict[str, FlagValue] | None]:
        """Complete `chosen` in every way; None stands for each dead end.

        A constraint is asked as soon as its last flag has a value, so that one answer rules out
        everything that could follow.
        """
        if not remaining:
            yield dict(chosen)
            return
        name, *rest = remaining
        for value in self.parameters[name].values():
            chosen[name] = value
            if all(check.is_satisfied_by(chosen) for check in self._checks[name]):
                yield from self._walk(chosen, rest)
            else:
                yield None
        del chosen[name]

    def _constraints_by_last_flag(self) -> dict[str, list[Constraint]]:
        position = {name: index for index, name in enumerate(self.parameters)}
        checks: dict[str, list[Constraint]] = {name: [] for name in self.parameters}
        for constraint in self.constraints:
            checks[max(constraint.names, key=position.__getitem__)].append(constraint)
        return checks

    def _refuse_continuous(self) -> None:
        continuous = [name for name, item in self.parameters.items() if item.cardinality is None]
        if continuous:
            raise SpaceTooLarge(
                f"The configurations can't be listed: {', '.join(continuous)} can take any value "
                "of a range. Give it a step, or search at random."
            )

    def _too_large(self, limit: int) -> SpaceTooLarge:
        counts = " x ".join(str(self.parameters[name].cardinality) for name in self.tuned)
        before = " before constraints" if self.constraints else ""
        return SpaceTooLarge(
            f"The configurations can't be listed: there are {self.size}{before} ({counts}), "
            f"and at most {limit} are listed at once."
        )
