"""Optuna's samplers as contenders, given every advantage that a replay can give.

Numbers are integers by rank, so that doubling values count as equally far apart. What was not
recorded, or was launched before, costs no launch: the sampler is asked again, and in the end the
nearest configuration that can be launched takes the place of its proposal. Broken limits are told
as constraints; failed launches count as the worst value seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import TrialState, create_trial

from benchmarks.replay.encoding import is_ordinal, vectors
from benchmarks.replay.family import Family
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import Trial, hashes_of
from tuning.domain.space import configuration_hash


def tpe(family: Family, seed: int, *, multivariate: bool) -> OptunaPeer:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = TPESampler(
        seed=seed,
        multivariate=multivariate,
    )
    return OptunaPeer(family, seed, sampler, questions=10)


def gaussian_process(family: Family, seed: int) -> OptunaPeer:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = GPSampler(
        seed=seed,
        deterministic_objective=False,
    )
    return OptunaPeer(family, seed, sampler, questions=1)


class OptunaPeer:
    """`questions` is how often the sampler is asked until its proposal can be launched."""

    def __init__(self, family: Family, seed: int, sampler: BaseSampler, questions: int) -> None:
        self._family = family
        self._rng = Random(seed)
        self._questions = questions
        self._values = {
            flag: list(parameter.values()) for flag, parameter in family.space.parameters.items()
        }
        self._distributions = {flag: _distribution(values) for flag, values in self._values.items()}
        self._study = optuna.create_study(direction=family.direction.value, sampler=sampler)
        self._limited = {
            limited.metric for outcome in family.outcomes.values() for limited in outcome.limited
        }
        self._told = 0

    def next(self, history: list[Trial]) -> Configuration | None:
        for trial in history[self._told :]:
            self._tell(trial, history)
        self._told = len(history)
        tried = hashes_of(history)
        for _ in range(self._questions):
            asked = self._study.ask(self._distributions)
            self._study.tell(asked, state=TrialState.FAIL)
            wanted = {flag: values[asked.params[flag]] for flag, values in self._values.items()}
            is_new = configuration_hash(wanted) not in tried
            if is_new and self._family.space.contains(wanted):
                return wanted
        return self._nearest(wanted, tried)

    def _tell(self, trial: Trial, history: Sequence[Trial]) -> None:
        value = trial.measured
        if value is None:
            value = self._worst(history)
        params = {
            flag: values.index(trial.parameters[flag]) for flag, values in self._values.items()
        }
        self._study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if value is not None else TrialState.FAIL,
                params=params,
                distributions=self._distributions,
                value=value,
                constraints=self._excesses(trial),
            )
        )

    def _excesses(self, trial: Trial) -> dict[str, float]:
        """How far each limit is broken; all of them where nothing could be measured."""
        excesses = {limited.metric: limited.log_excess or 0.0 for limited in trial.limited}
        return dict.fromkeys(self._limited, 1.0) | excesses

    def _worst(self, history: Sequence[Trial]) -> float | None:
        measured = [trial.measured for trial in history if trial.measured is not None]
        if not measured:
            return None
        return max(measured) if self._family.direction.prefers(0.0, 1.0) else min(measured)

    def _nearest(self, wanted: Configuration, tried: set[str]) -> Configuration | None:
        untried = [
            one for one in self._family.configurations if configuration_hash(one) not in tried
        ]
        if not untried:
            return None
        self._rng.shuffle(untried)
        places = vectors(self._family, [*untried, wanted])
        distances = np.abs(places[:-1] - places[-1]).sum(axis=1)
        return untried[int(np.argmin(distances))]


def _distribution(values: Sequence[object]) -> BaseDistribution:
    """Places in the list of values: as numbers where the values are, as names otherwise."""
    if is_ordinal(values):  # type: ignore[arg-type]
        return IntDistribution(0, len(values) - 1)
    return CategoricalDistribution(list(range(len(values))))
