"""A recorded system: which configurations were measured, and what each of them gave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from random import Random

from tuning.domain.failures import FailureKind
from tuning.domain.metrics import Direction
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Choices, Configuration
from tuning.domain.search.base import LimitedValue
from tuning.domain.space import ParameterSpace, configuration_hash


class Half(StrEnum):
    """Settings are chosen on one half of the families and reported on the other."""

    DEVELOPMENT = "development"
    HELD_OUT = "held-out"


@dataclass(frozen=True)
class Outcome:
    """What launching a configuration gave.

    `value` is None where nothing was measured; a configuration that broke a hard limit has both a
    value and a `failure`. `gpu_s` are the seconds for which devices were held, times their number.
    """

    value: float | None
    gpu_s: float
    failure: FailureKind | None = None
    limited: tuple[LimitedValue, ...] = ()


class RecordedSpace(ParameterSpace):
    """The space of the configurations that were measured; all others count as forbidden.

    What a constraint expression would rule out in a task file is ruled out by the record here.
    """

    def __init__(self, configurations: Sequence[dict[str, FlagValue]]) -> None:
        flags = {
            name: Choices(_ordered({(type(one[name]), one[name]) for one in configurations}))
            for name in configurations[0]
        }
        super().__init__(flags)
        self._recorded = [dict(one) for one in configurations]
        self._keys = {configuration_hash(one) for one in configurations}

    def configurations(self) -> Iterator[dict[str, FlagValue]]:
        return (dict(one) for one in self._recorded)

    def sample(self, rng: Random) -> dict[str, FlagValue]:
        return dict(rng.choice(self._recorded))

    def contains(self, configuration: Configuration) -> bool:
        return configuration_hash(configuration) in self._keys

    def listing(self, limit: int = 100_000) -> list[dict[str, FlagValue]]:
        return list(self.configurations())


@dataclass(frozen=True)
class Family:
    """One search to replay. `name` is `source/system@traffic`; `outcomes` is keyed by hash.

    `system` is what decides the half, so that the same system under another traffic is never on
    the other side.
    """

    source: str
    system: str
    traffic: str
    direction: Direction
    configurations: tuple[dict[str, FlagValue], ...]
    outcomes: Mapping[str, Outcome]
    kin: Family | None = field(default=None, compare=False)
    """The same system under another load, to start from."""

    @property
    def name(self) -> str:
        return f"{self.source}/{self.system}@{self.traffic}"

    @property
    def half(self) -> Half:
        digest = hashlib.sha256(f"{self.source}/{self.system}".encode()).digest()
        return Half.DEVELOPMENT if digest[0] % 2 == 0 else Half.HELD_OUT

    @cached_property
    def space(self) -> RecordedSpace:
        return RecordedSpace(self.configurations)

    @cached_property
    def best(self) -> float:
        values = [
            outcome.value
            for outcome in self.outcomes.values()
            if outcome.value is not None and outcome.failure is None
        ]
        return min(values) if self.direction is Direction.MINIMIZE else max(values)

    def outcome(self, configuration: Configuration) -> Outcome:
        return self.outcomes[configuration_hash(configuration)]

    def shortfall(self, outcome: Outcome) -> float:
        """How far a configuration is from the best: 0.05 is 5 % worse; infinite if it failed."""
        if outcome.value is None or outcome.failure is not None:
            return float("inf")
        if self.direction is Direction.MINIMIZE:
            return outcome.value / self.best - 1
        return 1 - outcome.value / self.best

    def share_within(self, shortfall: float) -> float:
        """How many of the configurations are good enough, from 0 to 1."""
        good = sum(self.shortfall(outcome) <= shortfall for outcome in self.outcomes.values())
        return good / len(self.outcomes)

    @property
    def failing_share(self) -> float:
        failing = sum(outcome.failure is not None for outcome in self.outcomes.values())
        return failing / len(self.outcomes)


def family_of(
    source: str,
    system: str,
    traffic: str,
    direction: Direction,
    records: Sequence[tuple[dict[str, FlagValue], Outcome]],
) -> Family:
    """A family of these records, without the flags that never change."""
    varying = [
        name
        for name in records[0][0]
        if len({(type(flags[name]), flags[name]) for flags, _ in records}) > 1
    ]
    records = sorted(records, key=lambda record: [_rank(record[0][name]) for name in varying])
    reduced = [({name: flags[name] for name in varying}, outcome) for flags, outcome in records]
    outcomes = {configuration_hash(flags): outcome for flags, outcome in reduced}
    configurations = {configuration_hash(flags): flags for flags, _ in reduced}
    return Family(source, system, traffic, direction, tuple(configurations.values()), outcomes)


def _ordered(values: set[tuple[type, FlagValue]]) -> tuple[FlagValue, ...]:
    """Numbers by size, then texts by letters."""
    return tuple(sorted((value for _, value in values), key=_rank))


def _rank(value: FlagValue) -> tuple[bool, float, str]:
    return (True, 0.0, value) if isinstance(value, str) else (False, float(value), "")
