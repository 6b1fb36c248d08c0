"""What to try next, from a model of what has been measured. docs/SEARCH.md explains it.

NumPy and SciPy are loaded when a proposal is asked for and not before: the processes that only
show pages never need them.
"""

from __future__ import annotations

from collections.abc import Sequence

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.search.base import PriorTask, Proposal, Trial
from tuning.domain.search.random_search import RandomSearch
from tuning.domain.space import ParameterSpace

MOST_MODELLED_PROPOSALS = 8
"""In one answer. Whatever is asked beyond follows a random order: no model looks that far ahead."""


class BayesianSearch:
    """Proposes where the best configuration is likely to be, given noise, limits and failures."""

    def __init__(
        self,
        space: ParameterSpace,
        seed: int,
        *,
        direction: Direction = Direction.MAXIMIZE,
        priors: Sequence[PriorTask] = (),
    ) -> None:
        self._space = space
        self._seed = seed
        self._direction = direction
        self._priors = tuple(priors)

    def ask(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        proposals = self._modelled(history, min(n, MOST_MODELLED_PROPOSALS))
        if len(proposals) == n:
            return proposals
        known = [*history, *map(_as_queued, proposals)]
        return proposals + RandomSearch(self._space, self._seed).ask(known, n - len(proposals))

    def _modelled(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        if n <= 0 or not self._space.tuned:
            return []
        from tuning.domain.search.bayesian_choice import Question

        question = Question(self._space, self._seed, self._direction, self._priors, history)
        return [Proposal(configuration) for configuration in question.answers(n)]


def _as_queued(proposal: Proposal) -> Trial:
    return Trial(proposal.parameters, ExperimentStatus.PENDING, None, None)
