"""Search strategies: from what has been measured, what to try next."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tuning.domain.search.base import Strategy
from tuning.domain.search.grid import GridSearch
from tuning.domain.search.random_search import RandomSearch
from tuning.domain.space import ParameterSpace
from tuning.domain.spec import SearchStrategy, TaskSpec

STRATEGIES: Mapping[SearchStrategy, Callable[[ParameterSpace, int], Strategy]] = {
    SearchStrategy.GRID_SEARCH: GridSearch,
    SearchStrategy.RANDOM: RandomSearch,
}
"""Each strategy of the task file, built from the space and the seed."""


def build_strategy(spec: TaskSpec) -> Strategy:
    """The strategy that a task file asks for."""
    return STRATEGIES[spec.optimization.strategy](spec.space(), spec.optimization.seed)
