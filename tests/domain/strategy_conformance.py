"""What every search strategy must keep. A test class per strategy derives from this one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.domain.task_files import spec_of
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.search import STRATEGIES
from tuning.domain.search.base import Proposal, Strategy, Trial
from tuning.domain.space import ParameterSpace, configuration_hash
from tuning.domain.spec import SearchStrategy

SMALL = {"threads": [1, 2, 4], "parallel": [1, 2, 4], "flash-attn": [True, False], "ctx-size": 512}
CONSTRAINT = "threads * parallel <= 8"
HUGE = {f"f{index}": {"type": "int", "low": 1, "high": 10} for index in range(12)}

_OUTCOMES = (
    (ExperimentStatus.SUCCESS, 1.5, None),
    (ExperimentStatus.FAILED, None, FailureKind.OUT_OF_MEMORY),
    (ExperimentStatus.PENDING, None, None),
    (ExperimentStatus.CANCELLED, None, None),
)


def tried(proposals: Sequence[Proposal]) -> list[Trial]:
    """A history in which the proposals ended in every way that an experiment can."""
    return [
        Trial(proposal.parameters, *_OUTCOMES[index % len(_OUTCOMES)])
        for index, proposal in enumerate(proposals)
    ]


def keys(proposals: Sequence[Proposal]) -> list[str]:
    return [configuration_hash(proposal.parameters) for proposal in proposals]


class StrategyConformance:
    """Override `name`; every test here then holds the strategy to `Strategy`'s contract."""

    name: SearchStrategy

    def build(self, space: ParameterSpace, seed: int = 0) -> Strategy:
        return STRATEGIES[self.name](space, seed)

    @pytest.fixture
    def space(self) -> ParameterSpace:
        return spec_of(parameters=SMALL, constraints=[CONSTRAINT]).space()

    @pytest.fixture
    def huge(self) -> ParameterSpace:
        return spec_of(parameters=HUGE).space()

    def test_proposals_are_configurations_of_the_space(self, space: ParameterSpace) -> None:
        proposals = self.build(space).ask([], 5)
        assert len(proposals) == 5
        assert all(space.contains(proposal.parameters) for proposal in proposals)

    def test_nothing_is_proposed_twice(self, space: ParameterSpace) -> None:
        first = self.build(space).ask([], 6)
        second = self.build(space).ask(tried(first), 6)
        assert len({*keys(first), *keys(second)}) == 12

    def test_the_same_history_gives_the_same_answer(self, space: ParameterSpace) -> None:
        history = tried(self.build(space, seed=3).ask([], 4))
        reused = self.build(space, seed=3)
        reused.ask([], 2)
        assert keys(reused.ask(history, 4)) == keys(self.build(space, seed=3).ask(history, 4))

    def test_a_finite_space_is_tried_out_and_then_done(self, space: ParameterSpace) -> None:
        everything = {configuration_hash(configuration) for configuration in space.listing()}
        found: list[Proposal] = []
        while proposals := self.build(space).ask(tried(found), 1):
            found += proposals
            assert len(found) <= len(everything)
        assert set(keys(found)) == everything
        assert self.build(space).ask(tried(found), 10) == []

    def test_more_than_there_is_gives_what_there_is(self, space: ParameterSpace) -> None:
        assert len(self.build(space).ask([], 1_000)) == len(space.listing())

    def test_trials_outside_the_space_do_no_harm(self, space: ParameterSpace) -> None:
        baseline = Trial(space.baseline(), ExperimentStatus.SUCCESS, 1.0, None)
        assert len(self.build(space).ask([baseline], 3)) == 3

    def test_a_huge_space_is_no_burden(self, huge: ParameterSpace) -> None:
        first = self.build(huge).ask([], 20)
        second = self.build(huge).ask(tried(first), 20)
        assert len({*keys(first), *keys(second)}) == 40

    def test_asking_for_none_gives_none(self, space: ParameterSpace) -> None:
        assert self.build(space).ask([], 0) == []
