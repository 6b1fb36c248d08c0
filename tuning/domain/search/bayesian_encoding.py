"""Configurations as points between which there is a distance along each flag."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from tuning.domain.names import FlagValue
from tuning.domain.parameters import Choices, Configuration, FloatRange, IntRange, Parameter
from tuning.domain.space import ParameterSpace

Array = npt.NDArray[np.float64]

WIDE_RATIO = 8.0
"""Numbers whose largest is this many times the smallest count by their ratios: 8, 16, 32 are
equally far apart."""


@dataclass(frozen=True)
class _Number:
    """A flag whose values are numbers, brought to 0 … 1 by `scale`."""

    scale: Callable[[float], float]
    low: float
    high: float

    def place(self, value: FlagValue) -> float:
        if isinstance(value, str):
            return math.nan
        return (self.scale(float(value)) - self.low) / (self.high - self.low)


class _Name:
    """A flag whose values are as different from one another as names are."""

    def __init__(self) -> None:
        self._places: dict[tuple[type, FlagValue], int] = {}

    def place(self, value: FlagValue) -> float:
        return float(self._places.setdefault((type(value), value), len(self._places)))


class Encoding:
    """The tuned flags of a space as columns.

    `is_name` tells for each column whether its places are mere labels.
    """

    def __init__(self, space: ParameterSpace) -> None:
        self._flags = {name: _column(space.parameters[name]) for name in space.tuned}
        self.is_name = np.array([isinstance(flag, _Name) for flag in self._flags.values()])

    @property
    def columns(self) -> int:
        return len(self._flags)

    def covers(self, configuration: Configuration) -> bool:
        """True when the configuration sets every tuned flag, as a baseline does not."""
        return self._flags.keys() <= configuration.keys()

    def points(self, configurations: Sequence[Configuration]) -> Array:
        """A row for each configuration."""
        rows = [
            [flag.place(configuration[name]) for name, flag in self._flags.items()]
            for configuration in configurations
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.columns)

    def distances(self, left: Array, right: Array) -> Array:
        """Along each column: (columns, rows of left, rows of right), mostly from 0 to 1.

        Two names are at distance 0 or 1; so is a number from what is no number.
        """
        apart = np.abs(left.T[:, :, None] - right.T[:, None, :])
        names = self.is_name
        apart[names] = (apart[names] > 0).astype(np.float64)
        return np.nan_to_num(apart, nan=1.0)


def _column(parameter: Parameter) -> _Number | _Name:
    values = _numbers(parameter)
    if values is None:
        return _Name()
    scale = _scale(values, is_log=getattr(parameter, "log", False))
    return _Number(scale, scale(min(values)), scale(max(values)))


def _numbers(parameter: Parameter) -> list[float] | None:
    """The numbers of a flag; None where they are no numbers, or too few to have an order."""
    if isinstance(parameter, IntRange | FloatRange):
        return [parameter.low, parameter.high] if parameter.high > parameter.low else None
    if not isinstance(parameter, Choices):
        return None
    values = [float(value) for value in parameter.options if type(value) in {int, float}]
    return values if len(values) == len(parameter.options) and len(set(values)) > 2 else None


def _scale(values: Sequence[float], *, is_log: bool) -> Callable[[float], float]:
    low, high = min(values), max(values)
    if low > 0 and (is_log or high >= WIDE_RATIO * low):
        return lambda value: math.log(max(value, low / WIDE_RATIO))
    if low == 0 and high >= WIDE_RATIO * max(median(values), 1.0):
        return lambda value: math.log1p(max(value, 0.0))
    return float
