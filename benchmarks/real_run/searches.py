"""What a search gave and what it cost, and its winner launched again beside another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.replay.grid_file import Grid, MeasuredConfiguration
from tuning.domain.names import FlagValue
from tuning.domain.objectives import Objective
from tuning.domain.space import configuration_hash
from tuning.domain.verdict import Finding, GainVerdict, Round, judge_rounds

if TYPE_CHECKING:
    from tuning.models import Task

AS_GOOD = frozenset({Finding.BETTER, Finding.NO_DIFFERENCE})


@dataclass(frozen=True)
class Search:
    """One search from its first launch to its end, with the baseline.

    `loads` counts the load points that were measured, `pruned` the launches that were stopped
    early. `value` is the winner's in the search, in the objective's unit.
    """

    name: str
    wall_s: float
    launches: int
    pruned: int
    loads: int
    winner: Mapping[str, FlagValue]
    value: float


def search_of_grid(name: str, grid: Grid, objective: Objective) -> Search | None:
    """The search that a grid has recorded; None where nothing of it succeeded."""
    succeeded = [one for one in grid.launched if one.failure is None]
    measured = [one for one in succeeded if objective.metric in one.metrics]
    if not measured:
        return None
    best = measured[0]
    for one in measured[1:]:
        if objective.direction.prefers(one.metrics[objective.metric], _value(best, objective)):
            best = one
    return Search(
        name=name,
        wall_s=grid.wall_s,
        launches=len(grid.launched),
        pruned=0,
        loads=sum(row is not None for one in grid.launched for row in one.points),
        winner=best.parameters,
        value=_value(best, objective),
    )


def _value(one: MeasuredConfiguration, objective: Objective) -> float:
    return one.metrics[objective.metric]


def search_of_task(name: str, task: Task) -> Search:
    """The search that a task made that has ended with a best experiment."""
    from tuning.domain.lifecycle import ExperimentStatus
    from tuning.models import Measurement

    best = task.best_experiment
    assert best is not None, "Product.run refuses such a task"
    assert best.objective_value is not None
    return Search(
        name=name,
        wall_s=task.duration_s or 0.0,
        launches=task.experiments.count(),
        pruned=task.experiments.filter(status=ExperimentStatus.PRUNED.value).count(),
        loads=Measurement.objects.filter(experiment__task=task).count(),
        winner=best.parameters,
        value=best.objective_value,
    )


@dataclass
class Contestant:
    """A configuration under the names that it has, and its value in each round, None where it
    failed."""

    names: list[str]
    parameters: Mapping[str, FlagValue]
    values: list[float | None] = field(default_factory=list)


Launch = Callable[[Mapping[str, FlagValue]], float | None]
"""Launches and measures a configuration anew; its value, None where it failed."""


class LaunchedAgain:
    """Configurations that are launched in turn, there and back again: A B C, C B A, A B C …

    So a machine that gets slower hurts all alike. A configuration with two names is launched once.
    """

    def __init__(self, named: Mapping[str, Mapping[str, FlagValue]], objective: Objective) -> None:
        self._objective = objective
        distinct: dict[str, Contestant] = {}
        for name, parameters in named.items():
            key = configuration_hash(parameters)
            distinct.setdefault(key, Contestant([], parameters)).names.append(name)
        self.contestants = list(distinct.values())

    def launch(self, rounds: int, launch: Launch) -> None:
        for number in range(rounds):
            order = self.contestants if number % 2 == 0 else self.contestants[::-1]
            for one in order:
                one.values.append(launch(one.parameters))

    def verdict(self, name: str, against: str) -> GainVerdict | None:
        """How one compares with another; None when both are the same configuration."""
        winner, reference = self._named(name), self._named(against)
        if winner is reference:
            return None
        rounds = [
            Round(value, other)
            for value, other in zip(winner.values, reference.values, strict=True)
        ]
        return judge_rounds(
            self._objective.metric, self._objective.direction, rounds, _faults(winner.values)
        )

    def _named(self, name: str) -> Contestant:
        return next(one for one in self.contestants if name in one.names)


def _faults(values: Sequence[float | None]) -> list[str]:
    return [
        f"launched again in round {number} it failed"
        for number, value in enumerate(values, start=1)
        if value is None
    ]


def is_as_good(verdict: GainVerdict | None) -> bool:
    """Whether both are the same within noise, or the first is even better."""
    return verdict is None or verdict.finding in AS_GOOD
