"""One question to the Bayesian search: which configurations come next."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

from tuning.domain.metrics import Direction
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import PriorTask, Trial
from tuning.domain.search.bayesian_candidates import Candidates
from tuning.domain.search.bayesian_encoding import Array, Encoding
from tuning.domain.search.bayesian_evidence import Evidence, comparable, evidence_of
from tuning.domain.search.bayesian_models import ValueModel, limit_models
from tuning.domain.space import ParameterSpace

FEWEST_MEASURED = 2
FEWEST_MEASURED_WARM = 1
"""Before there are so many, proposals are spread over the space. One is enough for earlier tasks to
be compared with; without any they could not be found to mislead."""
CENTRES = 3
"""Around so many of the best configurations neighbours are looked at."""
AROUND_THE_BEST = 300
"""How many candidates these are."""
CLIMBS = 2
"""How often neighbours of the best candidates are looked at in turn, where not all are listed."""
NEIGHBOURS = 60
"""How many candidates a climb adds."""
SHORTLIST = 400
"""Of several proposals at once, all but the first are chosen among so many."""
MOST_PRIOR_TRIALS = 60
"""Of all earlier tasks together; the best and the worst alike."""


class Question:
    """All that follows from one history. Built for one answer and thrown away."""

    def __init__(
        self,
        space: ParameterSpace,
        seed: int,
        direction: Direction,
        priors: Sequence[PriorTask],
        history: Sequence[Trial],
    ) -> None:
        rng = Random(f"{seed}/{len(history)}")
        self._rng = np.random.default_rng(rng.getrandbits(64))
        self._encoding = Encoding(space)
        self._evidence = evidence_of(history, self._encoding, direction)
        self._earlier = _earlier_tasks(priors, self._encoding, direction)
        self._candidates = Candidates(space, (trial.parameters for trial in history), rng)
        self._direction = direction

    def answers(self, count: int) -> list[Configuration]:
        """Up to `count` configurations, the most promising first."""
        pool = self._pool()
        fewest = FEWEST_MEASURED if not self._earlier else FEWEST_MEASURED_WARM
        if len(self._evidence.measured) >= fewest:
            return self._most_promising(pool, count)
        return self._spread(pool, count)

    def _pool(self) -> list[Configuration]:
        anywhere = self._candidates.sample()
        if self._candidates.is_complete:
            return anywhere
        return anywhere + self._candidates.near(self._best_measured(), AROUND_THE_BEST)

    def _best_measured(self) -> list[Configuration]:
        """The best configurations that keep the limits, or of all where none does."""
        evidence = self._evidence
        if not len(evidence.scores):
            return []
        eligible = (
            np.flatnonzero(evidence.kept)
            if evidence.kept.any()
            else np.arange(len(evidence.scores))
        )
        (values,) = comparable([evidence.scores], self._direction)
        order = eligible[np.argsort(-values[eligible], kind="stable")]
        return [
            evidence.measured[place]
            for place in order
            if self._candidates.space.contains(evidence.measured[place])
        ][:CENTRES]

    # --- Before there is a model ---

    def _spread(self, pool: list[Configuration], count: int) -> list[Configuration]:
        """From the middle outwards, each as far from all others as possible.

        Only the first looks for the middle of numbers; names have none, so chance decides there.
        """
        chosen: list[Configuration] = []
        taken = [*self._evidence.launched, *self._evidence.pending]
        points = self._encoding.points(pool)
        while len(chosen) < min(count, len(pool)):
            others = self._encoding.points([*taken, *chosen])
            merit = self._far_from(others, points) if len(others) else self._central(points)
            place = int(np.argmax(merit + 1e-6 * self._rng.random(len(pool))))
            chosen.append(pool.pop(place))
            points = np.delete(points, place, axis=0)
        return chosen

    def _central(self, points: Array) -> Array:
        numbers = points[:, ~self._encoding.is_name]
        merit: Array = -np.abs(numbers - 0.5).sum(axis=1)
        return merit

    def _far_from(self, others: Array, points: Array) -> Array:
        nearest: Array = self._encoding.apart(points, others).total().min(axis=1)
        return nearest

    # --- With a model ---

    def _most_promising(self, pool: list[Configuration], count: int) -> list[Configuration]:
        merits = _Merits(self._evidence, self._earlier, self._encoding, self._direction, self._rng)
        chosen: list[Configuration] = []
        while pool and len(chosen) < count:
            merit = merits.of(pool)
            if not self._candidates.is_complete:
                pool, merit = self._climb(pool, merit, merits)
            place = int(np.argmax(merit))
            chosen.append(pool[place])
            # What comes next to it is among the most promising now.
            best = [one for one in np.argsort(-merit, kind="stable")[:SHORTLIST] if one != place]
            pool = [pool[one] for one in best]
            if len(chosen) < count:
                merits.believe(chosen[-1:])
        return chosen

    def _climb(
        self, pool: list[Configuration], merit: Array, merits: _Merits
    ) -> tuple[list[Configuration], Array]:
        for _ in range(CLIMBS):
            best = [pool[place] for place in np.argsort(-merit, kind="stable")[:CENTRES]]
            near = self._candidates.near(best, NEIGHBOURS)
            if near:
                pool, merit = [*pool, *near], np.concatenate([merit, merits.of(near)])
        return pool, merit


class _Merits:
    """What makes a configuration worth a launch: improvement, limits and success together."""

    def __init__(
        self,
        evidence: Evidence,
        earlier: Sequence[tuple[float, Evidence]],
        encoding: Encoding,
        direction: Direction,
        rng: np.random.Generator,
    ) -> None:
        self._encoding = encoding
        self._evidence = evidence
        tasks = [evidence, *(task for _, task in earlier)]
        points = [encoding.points(task.measured) for task in tasks]
        values = comparable([task.scores for task in tasks], direction)
        self._value = ValueModel(
            encoding,
            np.vstack(points),
            np.concatenate(values),
            np.repeat(np.arange(len(tasks)), [len(each) for each in values]),
            [weight for weight, _ in earlier],
            rng,
        )
        self._limits = limit_models(evidence, encoding, rng)
        if evidence.pending:
            self.believe(evidence.pending)

    def believe(self, configurations: Sequence[Configuration]) -> None:
        self._value.believe(self._encoding.points(configurations))

    def of(self, configurations: Sequence[Configuration]) -> Array:
        """The logarithm of the expected improvement times all probabilities, for each."""
        points = self._encoding.points(configurations)
        merit = np.zeros(len(configurations))
        for limit in self._limits:
            merit = merit + limit.log_probability(points)
        best = self._best()
        return merit if best is None else merit + self._value.log_improvement(points, best)

    def _best(self) -> float | None:
        """What has to be improved on: the best that was measured, as it would be without noise.

        None while nothing keeps the limits: then they come first.
        """
        if not self._evidence.kept.any():
            return None
        mean, _ = self._value.predict(self._encoding.points(self._evidence.measured))
        return float(mean.mean(axis=0)[self._evidence.kept].max())


def _earlier_tasks(
    priors: Sequence[PriorTask], encoding: Encoding, direction: Direction
) -> list[tuple[float, Evidence]]:
    """The evidence of earlier tasks, of which something was measured."""
    room = MOST_PRIOR_TRIALS // max(len(priors), 1)
    found = [
        (prior.weight, evidence_of(_telling(prior.trials, room, direction), encoding, direction))
        for prior in priors
    ]
    return [(weight, evidence) for weight, evidence in found if len(evidence.scores)]


def _telling(trials: Sequence[Trial], most: int, direction: Direction) -> list[Trial]:
    """Measured trials from the best to the worst, thinned out evenly."""
    measured = sorted(
        (trial for trial in trials if trial.score is not None),
        key=lambda trial: trial.score or 0.0,
        reverse=direction is Direction.MAXIMIZE,
    )
    if len(measured) <= most:
        return measured
    return [
        measured[place] for place in np.linspace(0, len(measured) - 1, most).round().astype(int)
    ]
