"""Configurations drawn at random, without repetition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from tuning.domain.names import FlagValue
from tuning.domain.search.base import Proposal, Trial, hashes_of
from tuning.domain.space import ParameterSpace, SpaceError, configuration_hash

MAX_REPEATS = 10_000
"""How many draws in a row may bring nothing new before the space counts as tried out."""


class RandomSearch:
    """Draws from one sequence that follows from the seed, and skips what has been tried.

    The sequence is replayed for each question, so no state is kept and the order does not depend
    on how many proposals are asked for at once.
    """

    def __init__(self, space: ParameterSpace, seed: int) -> None:
        self._space = space
        self._seed = seed

    def ask(self, history: Sequence[Trial], n: int) -> list[Proposal]:
        return list(islice(self._untried(history), n))

    def _untried(self, history: Sequence[Trial]) -> Iterator[Proposal]:
        tried = hashes_of(history)
        drawn: set[str] = set()
        repeats = 0
        for configuration in self._sequence():
            key = configuration_hash(configuration)
            repeats = repeats + 1 if key in drawn else 0
            if repeats > MAX_REPEATS:
                return
            if key not in drawn and key not in tried:
                yield Proposal(configuration)
            drawn.add(key)

    def _sequence(self) -> Iterator[dict[str, FlagValue]]:
        """A space that can be listed is shuffled, so that it ends; any other is sampled."""
        rng = Random(self._seed)
        try:
            listed = self._space.listing()
        except SpaceError:
            while True:
                yield self._space.sample(rng)
        rng.shuffle(listed)
        yield from listed
