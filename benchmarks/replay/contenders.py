"""The strategies that are compared: ours as the product builds them, and their peers."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.replay.family import Family
from benchmarks.replay.session import Contender, Entry
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import Strategy, Trial
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
}
