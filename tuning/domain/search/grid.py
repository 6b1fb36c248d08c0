"""Every configuration of the space, in the order of the task file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from tuning.domain.search.base import Proposal, Trial, hashes_of
from tuning.domain.space import ParameterSpace, configuration_hash


class GridSearch:
    """Tries each configuration once; the last flag of the file changes fastest."""

    def __init__(self, space: ParameterSpace, seed: int) -> None:
        self._space = space

    def ask(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        return list(islice(self._untried(history), n))

    def _untried(self, history: Sequence[Trial]) -> Iterator[Proposal]:
        tried = hashes_of(history)
        for configuration in self._space.configurations():
            if configuration_hash(configuration) not in tried:
                yield Proposal(configuration)
