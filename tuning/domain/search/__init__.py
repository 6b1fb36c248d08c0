"""Search strategies: from what has been measured, what to try next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tuning.domain.search.base import PriorTask, Strategy
from tuning.domain.search.bayesian import BayesianSearch
from tuning.domain.search.grid import GridSearch
from tuning.domain.search.random_search import RandomSearch
from tuning.domain.space import ParameterSpace
from tuning.domain.spec import SearchStrategy, TaskSpec

STRATEGIES: Mapping[SearchStrategy, Callable[[ParameterSpace, int], Strategy]] = {
    SearchStrategy.GRID_SEARCH: GridSearch,
    SearchStrategy.RANDOM: RandomSearch,
    SearchStrategy.BAYESIAN: BayesianSearch,
}
"""Each strategy of the task file, built from the space and the seed."""


def build_strategy(spec: TaskSpec, priors: Sequence[PriorTask] = ()) -> Strategy:
    """The strategy that a task file asks for.

    `priors` are earlier tasks to start from; only `bayesian` learns, from these or from anything.
    """
    if spec.optimization.strategy is SearchStrategy.BAYESIAN:
        direction = spec.objective.direction
        return BayesianSearch(
            spec.space(), spec.optimization.seed, direction=direction, priors=priors
        )
    return STRATEGIES[spec.optimization.strategy](spec.space(), spec.optimization.seed)
