"""Configurations as points between which there is a distance along each flag."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from tuning.domain.names import FlagValue
from tuning.domain.parameters import Configuration, Parameter, ordered_numbers
from tuning.domain.space import ParameterSpace

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

WIDE_RATIO = 8.0
"""Numbers whose largest is this many times the smallest count by their ratios: 8, 16, 32 are
equally far apart."""
PLACES = 128
"""No model tells numbers apart that are nearer than this part of their range, and there are only so
many distances to compute something from."""


@dataclass(frozen=True)
class _Number:
    """A flag whose values are numbers, brought to 0 … 1 by `scale`; of `many` it takes `PLACES`."""

    scale: Callable[[float], float]
    low: float
    high: float
    many: bool

    def place(self, value: FlagValue) -> float:
        if isinstance(value, str):
            return math.nan
        place = (self.scale(float(value)) - self.low) / (self.high - self.low)
        return round(place * PLACES) / PLACES if self.many else place


class _Name:
    """A flag whose values are as different from one another as names are."""

    def __init__(self) -> None:
        self._places: dict[tuple[type, FlagValue], int] = {}

    def place(self, value: FlagValue) -> float:
        return float(self._places.setdefault((type(value), value), len(self._places)))


@dataclass(frozen=True)
class Apart:
    """How far each left point is from each right one along each column, mostly from 0 to 1.

    Flags have few values, so there is a small table for each column, and for each point its place
    in the table: what is computed from distances is computed once for each pair of values.
    """

    tables: tuple[Array, ...]
    left: tuple[Places, ...]
    right: tuple[Places, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.left[0]), len(self.right[0])

    def among(self, chosen: Places) -> Apart:
        """The same for some of the points, where left and right ones are the same."""
        some = tuple(places[chosen] for places in self.left)
        return Apart(self.tables, some, some)

    def blocks(self, size: int) -> Iterator[Apart]:
        """The right points in turn, so many at a time."""
        for first in range(0, self.shape[1], size):
            some = tuple(places[first : first + size] for places in self.right)
            yield Apart(self.tables, self.left, some)

    def total(self) -> Array:
        """Summed over the columns: (left points, right points)."""
        sums = np.zeros(self.shape)
        for table, left, right in zip(self.tables, self.left, self.right, strict=True):
            sums += table[left[:, None], right]
        return sums


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

    def apart(self, left: Array, right: Array) -> Apart:
        """Distances between two sets of points.

        Two names are at distance 0 or 1; a number is at 1 from what is no number.
        """
        tables, lefts, rights = [], [], []
        for column, is_name in enumerate(self.is_name):
            left_values, left_places = np.unique(left[:, column], return_inverse=True)
            right_values, right_places = np.unique(right[:, column], return_inverse=True)
            table = np.abs(left_values[:, None] - right_values[None, :])
            tables.append(
                (table > 0).astype(np.float64) if is_name else np.nan_to_num(table, nan=1.0)
            )
            lefts.append(left_places)
            rights.append(right_places)
        return Apart(tuple(tables), tuple(lefts), tuple(rights))


def _column(parameter: Parameter) -> _Number | _Name:
    values = ordered_numbers(parameter)
    if not values or min(values) == max(values):
        return _Name()
    scale = _scale(values, is_log=getattr(parameter, "log", False))
    many = parameter.cardinality is None or parameter.cardinality > PLACES
    return _Number(scale, scale(min(values)), scale(max(values)), many)


def _scale(values: Sequence[float], *, is_log: bool) -> Callable[[float], float]:
    low, high = min(values), max(values)
    if low > 0 and (is_log or high >= WIDE_RATIO * low):
        return lambda value: math.log(max(value, low / WIDE_RATIO))
    if low == 0 and high >= WIDE_RATIO * max(median(values), 1.0):
        return lambda value: math.log1p(max(value, 0.0))
    return float
