"""One search on one recorded system, from the first launch to the last."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from benchmarks.replay.disturbances import Disturbances, noisy, with_failing_region
from benchmarks.replay.family import Family, Outcome
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import Trial
from tuning.domain.space import configuration_hash

GOALS = (0.05, 0.02)
"""How far from the best a configuration may be to count as found."""


class Contender(Protocol):
    """A search under comparison: says what to launch next, from what has been launched."""

    def next(self, history: list[Trial]) -> Configuration | None: ...


Entry = Callable[[Family, int], Contender]
"""Builds a contender for a family and a seed."""


@dataclass(frozen=True)
class Result:
    """What one replay gave. `launches` and `gpu_s` are per goal, None where it was not reached.

    `failed_share` is of the launches until the first goal was reached. `repeated_failures` is the
    share of all launches that went into the injected region after two had failed there.
    """

    family: str
    strategy: str
    seed: int
    budget: int
    launches: dict[str, int | None]
    gpu_s: dict[str, float | None]
    gpu_s_spent: float
    failed_share: float
    repeated_failures: float
    ask_s: float


@dataclass(frozen=True)
class Rules:
    """`budget` is the most launches of a search. `to_the_end` spends it even when all is found;
    then it is at most half of the family: who has to try everything can avoid nothing."""

    budget: int
    disturbances: Disturbances = field(default_factory=Disturbances)
    to_the_end: bool = False

    def budget_for(self, family: Family) -> int:
        size = len(family.configurations)
        return min(self.budget, size // 2 if self.to_the_end else size)


def replay(family: Family, strategy: str, entry: Entry, seed: int, rules: Rules) -> Result:
    """Search the family once. The same seed gives every strategy the same failures and noise.

    The strategy's own seed differs between families: many have the same best configuration, and
    one lucky draw would count for all of them.
    """
    rng = Random(f"{family.name}/{seed}")
    disturbed, region = with_failing_region(family, rules.disturbances.failing_share, rng)
    contender = entry(disturbed, rng.getrandbits(31))
    run = _Run(disturbed, region, rules, Random(f"noise/{family.name}/{seed}"))
    began = time.process_time()
    budget = rules.budget_for(family)
    while len(run.history) < budget and (rules.to_the_end or not run.is_done):
        configuration = contender.next(run.history)
        if configuration is None:
            break
        run.launch(configuration)
    spent_s = time.process_time() - began
    return run.result(strategy, seed, budget, spent_s)


class _Run:
    def __init__(self, family: Family, region: frozenset[str], rules: Rules, rng: Random) -> None:
        self._family = family
        self._region = region
        self._noise_cv = rules.disturbances.noise_cv
        self._rng = rng
        self.history: list[Trial] = []
        self._launched: set[str] = set()
        self._gpu_s = 0.0
        self._failed: list[bool] = []
        self._in_region = 0
        self._reached: dict[str, tuple[int, float]] = {}

    @property
    def is_done(self) -> bool:
        return len(self._reached) == len(GOALS)

    def launch(self, configuration: Configuration) -> None:
        key = configuration_hash(configuration)
        if key in self._launched:
            raise ValueError(f"{dict(configuration)} was proposed twice")
        self._launched.add(key)
        outcome = self._family.outcome(configuration)
        self._gpu_s += outcome.gpu_s
        self._failed.append(outcome.failure is not None)
        self._in_region += key in self._region
        self.history.append(trial_of(configuration, noisy(outcome, self._noise_cv, self._rng)))
        for goal in GOALS:
            if self._family.shortfall(outcome) <= goal:
                self._reached.setdefault(str(goal), (len(self.history), self._gpu_s))

    def result(self, strategy: str, seed: int, budget: int, ask_s: float) -> Result:
        count = max(len(self.history), 1)
        until = self._reached.get(str(GOALS[0]), (count, 0.0))[0]
        return Result(
            family=self._family.name,
            strategy=strategy,
            seed=seed,
            budget=budget,
            launches={str(goal): self._reached.get(str(goal), (None,))[0] for goal in GOALS},
            gpu_s={str(goal): self._reached.get(str(goal), (0, None))[1] for goal in GOALS},
            gpu_s_spent=self._gpu_s,
            failed_share=sum(self._failed[:until]) / until,
            repeated_failures=max(0, self._in_region - 2) / count,
            ask_s=ask_s / count,
        )


def trial_of(configuration: Configuration, outcome: Outcome) -> Trial:
    """A launch as a strategy is told of it."""
    succeeded = outcome.failure is None
    return Trial(
        parameters=configuration,
        status=ExperimentStatus.SUCCESS if succeeded else ExperimentStatus.FAILED,
        score=outcome.value if succeeded else None,
        failure_kind=outcome.failure,
        measured=outcome.value,
        limited=outcome.limited,
    )
