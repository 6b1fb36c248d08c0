"""The strategies that are compared: ours as the product builds them, and their peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from benchmarks.replay.family import Family
from benchmarks.replay.session import Contender, Entry, trial_of
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import PriorTask, Strategy, Trial
from tuning.domain.search.bayesian import BayesianSearch
from tuning.domain.search.grid import GridSearch
from tuning.domain.search.random_search import RandomSearch


class OwnStrategy:
    """A strategy of the product, asked for one launch at a time."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def next(self, history: list[Trial]) -> Configuration | None:
        proposals = self._strategy.ask(history, 1)
        return proposals[0].parameters if proposals else None


def _grid(family: Family, seed: int) -> Contender:
    return OwnStrategy(GridSearch(family.space, seed))


def _random(family: Family, seed: int) -> Contender:
    return OwnStrategy(RandomSearch(family.space, seed))


def _bayesian(family: Family, seed: int) -> Contender:
    return OwnStrategy(BayesianSearch(family.space, seed, direction=family.direction))


PRIOR_TRIALS = 30
"""What an earlier task has measured of the same system."""


def _warm(family: Family, seed: int) -> Contender:
    """Ours, told of a search of the same system under another load, where there is one."""
    return _with_prior(family, seed, _kindred_trials(family, seed), weight=0.7)


def _misled(family: Family, seed: int) -> Contender:
    """Ours, told with confidence of a task in which good and bad are the other way round."""
    trials = [_upside_down(trial) for trial in _random_trials(family, seed)]
    return _with_prior(family, seed, trials, weight=0.7)


def _with_prior(family: Family, seed: int, trials: list[Trial], weight: float) -> Contender:
    priors = [PriorTask(weight, trials)] if trials else []
    strategy = BayesianSearch(family.space, seed, direction=family.direction, priors=priors)
    return OwnStrategy(strategy)


def _kindred_trials(family: Family, seed: int) -> list[Trial]:
    if family.kin is None:
        return []
    strategy = BayesianSearch(family.kin.space, seed, direction=family.direction)
    history: list[Trial] = []
    while len(history) < PRIOR_TRIALS and (proposals := strategy.ask(history, 1)):
        parameters = proposals[0].parameters
        history.append(trial_of(parameters, family.kin.outcome(parameters)))
    return history


def _random_trials(family: Family, seed: int) -> list[Trial]:
    proposals = RandomSearch(family.space, seed + 1).ask([], PRIOR_TRIALS)
    return [trial_of(one.parameters, family.outcome(one.parameters)) for one in proposals]


def _upside_down(trial: Trial) -> Trial:
    if trial.score is None:
        return trial
    return replace(trial, score=1 / trial.score, measured=1 / trial.score)


def _tpe(family: Family, seed: int) -> Contender:
    from benchmarks.replay.optuna_peers import tpe

    return tpe(family, seed, multivariate=False)


def _multivariate_tpe(family: Family, seed: int) -> Contender:
    from benchmarks.replay.optuna_peers import tpe

    return tpe(family, seed, multivariate=True)


def _optuna_gp(family: Family, seed: int) -> Contender:
    from benchmarks.replay.optuna_peers import gaussian_process

    return gaussian_process(family, seed)


def _plain_gp(family: Family, seed: int) -> Contender:
    from benchmarks.replay.plain_gp import PlainGp

    return PlainGp(family, seed)


CONTENDERS: Mapping[str, Entry] = {
    "grid": _grid,
    "random": _random,
    "tpe": _tpe,
    "tpe-multivariate": _multivariate_tpe,
    "optuna-gp": _optuna_gp,
    "plain-gp": _plain_gp,
    "bayesian": _bayesian,
    "bayesian-warm": _warm,
    "bayesian-misled": _misled,
}
