"""The strategies: each keeps the contract, and does what its name says."""

from __future__ import annotations

import pytest

from tests.domain.strategy_conformance import SMALL, StrategyConformance, keys, tried
from tests.domain.task_files import spec_of
from tuning.domain.search import STRATEGIES, build_strategy
from tuning.domain.search.base import Proposal
from tuning.domain.space import ParameterSpace, SpaceTooLarge
from tuning.domain.spec import SearchStrategy


class TestGridSearch(StrategyConformance):
    name = SearchStrategy.GRID_SEARCH

    def test_the_order_is_that_of_the_task_file(self, space: ParameterSpace) -> None:
        proposals = self.build(space).ask([], 3)
        assert [dict(proposal.parameters) for proposal in proposals] == space.listing()[:3]

    def test_a_continuous_space_is_refused(self) -> None:
        optimization = {"strategy": "random", "max_iterations": 1}
        ranges = {"share": {"type": "float", "low": 0.1, "high": 0.9}}
        continuous = spec_of(parameters=ranges, optimization=optimization).space()
        with pytest.raises(SpaceTooLarge, match="share"):
            self.build(continuous).ask([], 1)


class TestRandomSearch(StrategyConformance):
    name = SearchStrategy.RANDOM

    def test_another_seed_gives_another_order(self, space: ParameterSpace) -> None:
        orders = {tuple(keys(self.build(space, seed).ask([], 10))) for seed in range(5)}
        assert len(orders) == 5

    def test_a_continuous_space_is_sampled_without_end(self) -> None:
        optimization = {"strategy": "random", "max_iterations": 1}
        ranges = {"share": {"type": "float", "low": 0.1, "high": 0.9}, "threads": [1, 2]}
        continuous = spec_of(parameters=ranges, optimization=optimization).space()
        proposals = self.build(continuous).ask([], 50)
        assert len(set(keys(proposals))) == 50
        assert all(continuous.contains(proposal.parameters) for proposal in proposals)

    @pytest.mark.parametrize("fixture", ["space", "huge"])
    def test_asking_one_by_one_leads_the_same_way_as_asking_at_once(
        self, fixture: str, request: pytest.FixtureRequest
    ) -> None:
        space: ParameterSpace = request.getfixturevalue(fixture)
        one_by_one: list[Proposal] = []
        for _ in range(8):
            one_by_one += self.build(space, seed=5).ask(tried(one_by_one), 1)
        assert keys(one_by_one) == keys(self.build(space, seed=5).ask([], 8))

    def test_a_sampled_space_that_is_tried_out_comes_to_an_end(
        self, space: ParameterSpace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        everything = len(space.listing())

        def too_large() -> None:
            raise SpaceTooLarge

        monkeypatch.setattr(space, "listing", too_large)
        assert len(set(keys(self.build(space).ask([], 1_000)))) == everything


def test_the_task_file_chooses_strategy_and_seed() -> None:
    optimization = {"strategy": "random", "max_iterations": 3, "seed": 9}
    spec = spec_of(parameters=SMALL, optimization=optimization)
    expected = STRATEGIES[SearchStrategy.RANDOM](spec.space(), 9).ask([], 3)
    assert build_strategy(spec).ask([], 3) == expected


def test_every_strategy_of_the_task_file_can_be_built() -> None:
    assert set(STRATEGIES) == set(SearchStrategy)
