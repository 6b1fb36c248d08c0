"""The contract of every search strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any, Protocol

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.parameters import Configuration
from tuning.domain.slo import Slo
from tuning.domain.space import configuration_hash


@dataclass(frozen=True)
class Proposal:
    """A configuration to try next."""

    parameters: Configuration


@dataclass(frozen=True)
class LimitedValue:
    """What a trial gave of a metric that has a hard limit, both in the metric's own unit.

    `actual` is that of the worst load point, None when it was not measured. One of `max` and `min`
    is set, as far away as the SLO allows it to be broken.
    """

    metric: str
    actual: float | None
    max: float | None = None
    min: float | None = None

    @property
    def log_excess(self) -> float | None:
        """The logarithm of how many times the limit is broken: at most 0 when it holds.

        None where that can't be told: nothing was measured, or a limit or value is not above 0.
        """
        limit = self.min if self.max is None else self.max
        if (
            self.actual is None
            or limit is None
            or min(self.actual, limit) <= 0
            or self.actual == inf
        ):
            return None
        ratio = log(self.actual / limit)
        return -ratio if self.max is None else ratio


@dataclass(frozen=True)
class Trial:
    """An experiment as a strategy sees it, whatever became of it.

    `score` is in the objective's direction, None unless the experiment succeeded. `measured` is
    the same number for every experiment that was measured to its end, also for one that broke a
    hard limit; `limited` says how each limited metric stood. `pruned_at` is what the score of one
    that was PRUNED would hardly have been better than.
    """

    parameters: Configuration
    status: ExperimentStatus
    score: float | None
    failure_kind: FailureKind | None
    measured: float | None = None
    limited: tuple[LimitedValue, ...] = ()
    pruned_at: float | None = None


@dataclass(frozen=True)
class PriorTask:
    """What another task has measured, as a start for this one.

    `weight` says from 0 to 1 how alike the two tasks are: model, hardware, traffic. It is where
    the belief starts from; what this task measures itself confirms or refutes it. Scores are in
    the same direction as those of this task.
    """

    weight: float
    trials: Sequence[Trial]


class Strategy(Protocol):
    """Says what to try next, from what has been tried.

    A strategy is built anew for each question and holds no state of its own: the same history
    gives the same answer, in any process. Asking for one proposal at a time, each becoming part
    of the history, must reach the same configurations as asking for many at once wherever results
    do not matter to the strategy. tests/domain/strategy_conformance.py holds every strategy to it.
    """

    def ask(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        """Up to `n` different configurations of the space, none of which is in the history.

        Fewer, or none, when nothing is left to try. How many experiments a task may run in all is
        not the strategy's concern.

        Raises:
            SpaceError: the space can't be searched this way.
        """
        ...


def limited_values(
    slos: Sequence[Slo], verdicts: Iterable[Mapping[str, Any]]
) -> tuple[LimitedValue, ...]:
    """How an experiment stood with each hard limit, from its verdicts as they are stored."""
    actual = {verdict["metric"]: verdict["actual"] for verdict in verdicts}
    return tuple(
        limited
        for slo in slos
        if slo.hard and slo.metric in actual
        for limited in _limits_of(slo, actual[slo.metric])
    )


def _limits_of(slo: Slo, actual: float | None) -> Iterator[LimitedValue]:
    if slo.max is not None:
        yield LimitedValue(slo.metric, actual, max=slo.max * (1 + slo.fail_ratio))
    if slo.min is not None:
        yield LimitedValue(slo.metric, actual, min=slo.min * (1 - slo.fail_ratio))


def hashes_of(history: Iterable[Trial]) -> set[str]:
    """The keys of all configurations that were tried."""
    return {configuration_hash(trial.parameters) for trial in history}
