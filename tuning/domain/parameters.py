"""What one engine flag may be set to: a fixed value, a list of choices, or a range.

Values are told apart by type as well as by value: `1`, `1.0` and `True` are three different
settings of a flag, although Python calls them equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from tuning.domain.names import FlagValue

Configuration = Mapping[str, FlagValue]
"""A value for each flag of one engine launch. Keys are flag names without their dashes."""


def same_value(left: FlagValue, right: FlagValue) -> bool:
    """True when both are the same setting: equal in type and in value."""
    return type(left) is type(right) and left == right


def is_number(value: FlagValue) -> bool:
    """True for whole numbers and others, and not for `true`, which Python counts among them."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def flag_name(written: str) -> str:
    """The flag's name as the autotuner spells it: `--tp_size` is `tp-size`."""
    return written.strip().lstrip("-").replace("_", "-")


@dataclass(frozen=True)
class Fixed:
    """A flag that has the same value in every configuration. `False` leaves the flag out."""

    value: FlagValue

    @property
    def cardinality(self) -> int:
        return 1

    def values(self) -> Iterator[FlagValue]:
        yield self.value

    def value_at(self, index: int) -> FlagValue:
        return self.value

    def sample(self, rng: Random) -> FlagValue:
        return self.value

    def contains(self, value: FlagValue) -> bool:
        return same_value(self.value, value)


@dataclass(frozen=True)
class Choices:
    """A flag that takes one of a list of values, in the order in which they are tried."""

    options: tuple[FlagValue, ...]

    @property
    def cardinality(self) -> int:
        return len(self.options)

    def values(self) -> Iterator[FlagValue]:
        yield from self.options

    def value_at(self, index: int) -> FlagValue:
        return self.options[index]

    def sample(self, rng: Random) -> FlagValue:
        return rng.choice(self.options)

    def contains(self, value: FlagValue) -> bool:
        return any(same_value(option, value) for option in self.options)


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `low` to `high`, both included where a step reaches them.

    With a `step` the values are `low, low + step, ...`; `log` then makes random samples favour
    small values. Without a step, a linear range takes every whole number, and a logarithmic one
    (`log`, which needs `low >= 1`) goes by doubling: `low, 2 * low, 4 * low, ...` and `high`.
    """

    low: int
    high: int
    step: int | None = None
    log: bool = False

    @property
    def _doubles(self) -> bool:
        return self.log and self.step is None

    @property
    def cardinality(self) -> int:
        if self._doubles:
            return len(self._doublings())
        return (self.high - self.low) // (self.step or 1) + 1

    def values(self) -> Iterator[int]:
        if self._doubles:
            yield from self._doublings()
        else:
            yield from range(self.low, self.high + 1, self.step or 1)

    def value_at(self, index: int) -> int:
        return self._doublings()[index] if self._doubles else self.low + index * (self.step or 1)

    def sample(self, rng: Random) -> int:
        if self._doubles:
            return rng.choice(self._doublings())
        if not self.log:
            return rng.randrange(self.low, self.high + 1, self.step or 1)
        step = self.step or 1
        steps = round((_log_uniform(rng, self.low, self.high) - self.low) / step)
        return self.low + min(steps, self.cardinality - 1) * step

    def contains(self, value: FlagValue) -> bool:
        if type(value) is not int:
            return False
        if self._doubles:
            return value in self._doublings()
        return value in range(self.low, self.high + 1, self.step or 1)

    def _doublings(self) -> list[int]:
        values = []
        value = self.low
        while value < self.high:
            values.append(value)
            value *= 2
        return [*values, self.high]


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`.

    Without a `step` the range is continuous: it can be sampled, not enumerated, and has no
    cardinality. With one, the values are `low, low + step, ...` up to `high`, computed in decimal
    so that 0.1 + 2 * 0.1 is 0.3. `log` (which needs `low > 0`) makes samples favour small values.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def cardinality(self) -> int | None:
        if self.step is None:
            return None
        return int((_decimal(self.high) - _decimal(self.low)) // _decimal(self.step)) + 1

    def values(self) -> Iterator[float]:
        """All values in order.

        Raises:
            ValueError: the range is continuous.
        """
        count = self.cardinality
        if count is None:
            raise ValueError(f"The range {self.low} to {self.high} is continuous: give it a step.")
        return (self.value_at(index) for index in range(count))

    def sample(self, rng: Random) -> float:
        drawn = self._draw(rng)
        if self.step is None:
            return drawn
        steps = round((drawn - self.low) / self.step)
        return self.value_at(min(max(steps, 0), (self.cardinality or 1) - 1))

    def contains(self, value: FlagValue) -> bool:
        if type(value) is not float or not self.low <= value <= self.high:
            return False
        return self.step is None or self.value_at(round((value - self.low) / self.step)) == value

    def _draw(self, rng: Random) -> float:
        if self.log:
            return _log_uniform(rng, self.low, self.high)
        return min(max(rng.uniform(self.low, self.high), self.low), self.high)

    def value_at(self, index: int) -> float:
        """The value at a place of `values`, without listing them; the range needs a step."""
        return float(_decimal(self.low) + index * _decimal(self.step or 0.0))


Parameter = Fixed | Choices | IntRange | FloatRange


def _decimal(number: float) -> Decimal:
    """The number as a person would have written it: the shortest one that reads back the same."""
    return Decimal(repr(number))


def _log_uniform(rng: Random, low: float, high: float) -> float:
    drawn = math.exp(rng.uniform(math.log(low), math.log(high)))
    return min(max(drawn, low), high)


FEWEST_ORDERED = 3
"""Two numbers are no order, but two names."""


def ordered_numbers(parameter: Parameter) -> list[float]:
    """The numbers of a flag whose values have an order, or the ends of its range.

    Empty for names, and for choices with fewer than `FEWEST_ORDERED` numbers.
    """
    match parameter:
        case IntRange(low, high) | FloatRange(low, high):
            return [float(low), float(high)]
        case Choices(options):
            numbers = [float(option) for option in options if is_number(option)]
            is_order = len(numbers) == len(options) and len(set(numbers)) >= FEWEST_ORDERED
            return numbers if is_order else []
        case Fixed():
            return []
