"""The contract of every search strategy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.parameters import Configuration
from tuning.domain.space import configuration_hash


@dataclass(frozen=True)
class Proposal:
    """A configuration to try next."""

    parameters: Configuration


@dataclass(frozen=True)
class Trial:
    """An experiment as a strategy sees it, whatever became of it.

    `score` is in the objective's direction, None unless the experiment succeeded. `pruned_at` is
    what the score of one that was PRUNED would hardly have been better than.
    """

    parameters: Configuration
    status: ExperimentStatus
    score: float | None
    failure_kind: FailureKind | None
    pruned_at: float | None = None


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


def hashes_of(history: Iterable[Trial]) -> set[str]:
    """The keys of all configurations that were tried."""
    return {configuration_hash(trial.parameters) for trial in history}
