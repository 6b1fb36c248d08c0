"""Which configurations may still be the best, given the noise: those are worth another launch.

Each launch of a configuration gives one score. On a logarithmic scale all configurations are taken
to have the same noise, so the launches of each tell of it together (pooled variance). Before any
was launched twice, nothing is known of it; so the estimate begins at a usual noise, which counts
as `PRIOR_DEGREES` observations and fades as real ones come (a scaled inverse chi-squared prior;
Gelman et al., "Bayesian Data Analysis", 3rd ed., section 2.6):

    s² = (PRIOR_DEGREES * PRIOR_CV² + sum of squares) / (PRIOR_DEGREES + degrees)
    interval of a mean of n launches = mean ± t(PRIOR_DEGREES + degrees) * s / sqrt(n)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from tuning.domain.distributions import student_t
from tuning.domain.metrics import Direction

PRIOR_CV = 0.03
"""What one configuration varies by between two launches on a machine that does nothing else."""
PRIOR_DEGREES = 2

MOST_CONTENDERS = 4
MOST_LAUNCHES = 3
"""Of one contender, the first included."""
MOST_REPEATS = 8
"""Further launches of a task in all."""


@dataclass(frozen=True)
class Candidate:
    """A configuration with the score of each of its launches; `number` is its experiment's."""

    number: int
    scores: tuple[float, ...]

    def mean(self) -> float:
        """The geometric mean: the score that its typical launch has."""
        if len(self.scores) == 1 or min(self.scores) <= 0:
            return fmean(self.scores)
        return math.exp(fmean(math.log(score) for score in self.scores))


def contenders(candidates: Sequence[Candidate], direction: Direction) -> list[Candidate]:
    """Those whose interval overlaps that of the best, the best first; none of scores up to 0."""
    if not candidates or any(score <= 0 for one in candidates for score in one.scores):
        return []
    reach = _reach(candidates)
    ranked = sorted(candidates, key=lambda one: (_cost(one, direction), one.number))
    best = ranked[0]
    worst_of_best = _cost(best, direction) + reach / math.sqrt(len(best.scores))
    overlapping = (
        one
        for one in ranked
        if _cost(one, direction) - reach / math.sqrt(len(one.scores)) <= worst_of_best
    )
    return [one for _, one in zip(range(MOST_CONTENDERS), overlapping, strict=False)]


def worth_repeating(
    candidates: Sequence[Candidate], direction: Direction, spent: int
) -> list[Candidate]:
    """Who is to be launched next, those with the fewest launches first.

    None once a single contender is left, each has had `MOST_LAUNCHES`, or `spent` further launches
    are `MOST_REPEATS`.
    """
    rivals = contenders(candidates, direction)
    if len(rivals) < 2:
        return []
    unsettled = [one for one in rivals if len(one.scores) < MOST_LAUNCHES]
    unsettled.sort(key=lambda one: len(one.scores))
    return unsettled[: max(0, MOST_REPEATS - spent)]


def _reach(candidates: Iterable[Candidate]) -> float:
    """Half of the interval of a single launch, on the logarithmic scale."""
    squares, degrees = PRIOR_DEGREES * PRIOR_CV**2, PRIOR_DEGREES
    for one in candidates:
        logs = [math.log(score) for score in one.scores]
        mean = fmean(logs)
        squares += sum((value - mean) ** 2 for value in logs)
        degrees += len(logs) - 1
    return student_t(degrees) * math.sqrt(squares / degrees)


def _cost(candidate: Candidate, direction: Direction) -> float:
    mean = math.log(candidate.mean())
    return mean if direction is Direction.MINIMIZE else -mean
