"""What an earlier task tried, as configurations of a new task's space.

The two may tune different flags. Each flag of a configuration is one of these:

- Tuned by the new task: its value is kept, also one that the new space does not have, since the
  model knows how far it is from those that it has. Left out by the earlier task it counts as
  `false` where that is one of the new values (`false` leaves a flag out); otherwise the earlier
  task had the engine's default all the time, whose value nobody knows here. Then any one value does
  for all of its configurations (`_stand_in`): the model compares each task with itself alone, so
  that a flag which never changed says nothing.
- Not tuned by the new task: the configuration is of another *slice* of the engine's space unless
  the new task fixes the flag at the same value, or leaves it out as well. A task is learnt from in
  one slice, in which no such flag changes; otherwise its effect would look like noise.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Generic, TypeVar

from tuning.domain.names import FlagValue
from tuning.domain.parameters import (
    Choices,
    Configuration,
    Parameter,
    is_number,
    ordered_numbers,
    same_value,
)
from tuning.domain.space import ParameterSpace

Key = TypeVar("Key", bound=Hashable)

FEWEST_CONFIGURATIONS = 3
"""Fewer tell nothing of how a flag acts."""
ENOUGH_CONFIGURATIONS = 5
"""With so many, a slice is worth half of what any number would make it."""
OTHER_FIXED_FLAG = 0.85
"""For each flag that is fixed at another value."""
NOTHING_IN_COMMON = 0.5
"""The limit of the overlap's factor, where hardly a value was tried that is wanted now."""
LEFT_OUT = ""
"""Stands for the value of a flag that was left out, among names: a name like no other."""


@dataclass(frozen=True)
class CarriedOver(Generic[Key]):
    """The slice of an earlier task that tells most, by the keys that its configurations had.

    `factor` is from 0 (exclusive) to 1: how much of the new space it covers, and how far away its
    slice is.
    """

    keys: tuple[Key, ...]
    factor: float


def carried_over(
    space: ParameterSpace, tried: Mapping[Key, Configuration]
) -> CarriedOver[Key] | None:
    """What of an earlier task's configurations is of use in `space`.

    None when there are too few in any slice, or when they never changed a flag of this space.
    """
    slices: dict[frozenset[tuple[str, type, FlagValue]], dict[Key, Configuration]]
    slices = defaultdict(dict)
    for key, configuration in tried.items():
        in_space = in_new_space(space, configuration)
        if in_space is not None:
            slices[_differences(space, configuration)][key] = in_space
    best: CarriedOver[Key] | None = None
    worth = 0.0
    for differences, configurations in slices.items():
        count = len(configurations)
        overlap = _overlap(space, list(configurations.values()))
        if count < FEWEST_CONFIGURATIONS or overlap == 0.0:
            continue
        factor = OTHER_FIXED_FLAG ** len(differences)
        factor *= NOTHING_IN_COMMON + (1 - NOTHING_IN_COMMON) * overlap
        if factor * count / (count + ENOUGH_CONFIGURATIONS) > worth:
            worth = factor * count / (count + ENOUGH_CONFIGURATIONS)
            best = CarriedOver(tuple(configurations), factor)
    return best


def in_new_space(
    space: ParameterSpace, configuration: Configuration
) -> dict[str, FlagValue] | None:
    """The configuration with the flags that `space` tunes and no others.

    None where one of them has a value that has no place among the others: a text among numbers.
    """
    brought: dict[str, FlagValue] = {}
    for name in space.tuned:
        parameter = space.parameters[name]
        value = configuration.get(name)
        if value is None:
            value = False if parameter.contains(False) else _stand_in(parameter)
        elif ordered_numbers(parameter) and not is_number(value):
            return None
        brought[name] = value
    return brought


def _differences(
    space: ParameterSpace, configuration: Configuration
) -> frozenset[tuple[str, type, FlagValue]]:
    """Flags that the space does not tune, where they differ from what it fixes; with their type,
    since `1` and `True` are different settings."""
    fixed = space.fixed
    names = (fixed.keys() | configuration.keys()) - set(space.tuned)
    there = {name: configuration.get(name, False) for name in names}
    return frozenset(
        (name, type(value), value)
        for name, value in there.items()
        if not same_value(value, fixed.get(name, False))
    )


def _overlap(space: ParameterSpace, configurations: Sequence[Configuration]) -> float:
    """The share of each flag's values that lie where others were tried, averaged over the flags."""
    return fmean(
        _covered(space.parameters[name], [one[name] for one in configurations])
        for name in space.tuned
    )


def _covered(parameter: Parameter, tried: Sequence[FlagValue]) -> float:
    """0 when the flag never changed."""
    if all(same_value(value, tried[0]) for value in tried):
        return 0.0
    numbers = ordered_numbers(parameter)
    if not numbers:
        assert isinstance(parameter, Choices)
        known = [any(same_value(option, value) for value in tried) for option in parameter.options]
        return fmean(known)
    low, high = (float(end(value for value in tried if is_number(value))) for end in (min, max))
    if isinstance(parameter, Choices):
        return fmean(low <= number <= high for number in numbers)
    return _share_between(low, high, min(numbers), max(numbers))


def _share_between(low: float, high: float, lowest: float, highest: float) -> float:
    """How much of the range from `lowest` to `highest` lies between `low` and `high`; by ratios
    where there are any, as ranges of flags mostly span several doublings."""
    common_low, common_high = max(low, lowest), min(high, highest)
    if common_low >= common_high:
        return 0.0
    if lowest > 0:
        return math.log(common_high / common_low) / math.log(highest / lowest)
    return (common_high - common_low) / (highest - lowest)


def _stand_in(parameter: Parameter) -> FlagValue:
    numbers = sorted(ordered_numbers(parameter))
    if not numbers:
        return LEFT_OUT
    if isinstance(parameter, Choices):
        return numbers[len(numbers) // 2]
    return (numbers[0] + numbers[-1]) / 2
