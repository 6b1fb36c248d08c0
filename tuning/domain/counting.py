"""How many configurations a space has, without listing them all.

Flags that no constraint ties together are independent of each other. So each group of tied flags
is listed by itself, and the counts are multiplied: a preview asks at every keystroke.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from tuning.domain.constraints import Constraint
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Choices, Fixed, FloatRange, IntRange
from tuning.domain.space import ConstraintsTooTight, ParameterSpace

MOST_LISTED = 10_000
"""At most so many configurations of one group of tied flags are looked at."""
_MOST_COMBINATIONS = 10_000


@dataclass(frozen=True)
class Extent:
    """How far a space goes.

    `size` is None for a space with a continuous flag, and a lower bound unless `is_complete`.
    `last` is the last configuration in the order of a grid search, where it can be told.
    `watched` holds the combinations of the watched flags that occur; of a flag that is in no
    constraint, a range by its two ends.
    """

    size: int | None
    is_complete: bool
    last: Mapping[str, FlagValue] | None
    watched: tuple[Mapping[str, FlagValue], ...]


@dataclass
class _Part:
    """What was found of one group."""

    size: int | None
    is_complete: bool
    last: dict[str, FlagValue]
    watched: list[dict[str, FlagValue]]


def extent_of(space: ParameterSpace, watched: Iterable[str] = ()) -> Extent:
    """Count the configurations, and gather those of the flags in `watched`."""
    names = frozenset(watched) & space.parameters.keys()
    tied = list(_tied_groups(space))
    in_groups = {name for group, _ in tied for name in group}
    parts = [_listed(space, group, constraints, names) for group, constraints in tied]
    parts += [_single(space, name, names) for name in space.parameters if name not in in_groups]
    sizes = [part.size for part in parts if part.size is not None]
    is_countable = len(sizes) == len(parts)
    is_complete = all(part.is_complete for part in parts)
    found = {name: value for part in parts for name, value in part.last.items()}
    return Extent(
        size=math.prod(sizes) if is_countable else None,
        is_complete=is_complete,
        last={name: found[name] for name in space.parameters}
        if is_countable and is_complete
        else None,
        watched=tuple(_combinations([part.watched for part in parts if part.watched])),
    )


def configuration_at(space: ParameterSpace, index: int) -> dict[str, FlagValue]:
    """The configuration at a place of a grid search, of a space without constraints."""
    values: dict[str, FlagValue] = {}
    for name, parameter in reversed(space.parameters.items()):
        index, place = divmod(index, parameter.cardinality or 1)
        values[name] = parameter.value_at(place)
    return {name: values[name] for name in space.parameters}


def _tied_groups(space: ParameterSpace) -> Iterator[tuple[set[str], list[Constraint]]]:
    groups: list[tuple[set[str], list[Constraint]]] = []
    for constraint in space.constraints:
        names, constraints = set(constraint.names), [constraint]
        apart = []
        for group in groups:
            if group[0] & names:
                names |= group[0]
                constraints += group[1]
            else:
                apart.append(group)
        groups = [*apart, (names, constraints)]
    yield from groups


def _listed(
    space: ParameterSpace, group: set[str], constraints: list[Constraint], watched: frozenset[str]
) -> _Part:
    parameters = {name: item for name, item in space.parameters.items() if name in group}
    part = _Part(size=0, is_complete=False, last={}, watched=[])
    if any(item.cardinality is None for item in parameters.values()):
        part.size = None
        part.watched = _extremes(space, sorted(group & watched))
        return part
    seen: dict[tuple[FlagValue, ...], dict[str, FlagValue]] = {}
    count = 0
    try:
        for configuration in ParameterSpace(parameters, constraints).configurations():
            if count == MOST_LISTED:
                break
            count += 1
            part.last = configuration
            projection = {name: configuration[name] for name in configuration if name in watched}
            seen.setdefault(tuple(projection.values()), projection)
        else:
            part.is_complete = True
    except ConstraintsTooTight:
        # Perhaps there are more behind the gap, perhaps not.
        part.is_complete = False
    part.size = count
    part.watched = [projection for projection in seen.values() if projection]
    return part


def _single(space: ParameterSpace, name: str, watched: frozenset[str]) -> _Part:
    parameter = space.parameters[name]
    count = parameter.cardinality
    extremes = _extremes(space, [name] if name in watched else [])
    if count is None:
        return _Part(size=None, is_complete=True, last={}, watched=extremes)
    return _Part(count, True, {name: parameter.value_at(count - 1)}, extremes)


def _extremes(space: ParameterSpace, names: list[str]) -> list[dict[str, FlagValue]]:
    """All combinations of the choices of each flag, and of the two ends of each range."""
    options: dict[str, list[FlagValue]] = {}
    for name in names:
        parameter = space.parameters[name]
        match parameter:
            case Fixed() | Choices():
                options[name] = list(parameter.values())
            case IntRange() | FloatRange():
                options[name] = [parameter.low, parameter.high]
    if not options:
        return []
    return [dict(zip(options, values, strict=True)) for values in product(*options.values())]


def _combinations(
    parts: list[list[dict[str, FlagValue]]],
) -> Iterator[Mapping[str, FlagValue]]:
    for number, chosen in enumerate(product(*parts)):
        if number == _MOST_COMBINATIONS:
            return
        yield {name: value for part in chosen for name, value in part.items()}
