"""What earlier tasks are worth to a search, as the product weighs and carries them over."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.domain.test_bayesian import GRID, space_of, speed, success
from tuning.domain.carrying_over import carried_over, in_new_space
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.parameters import Configuration
from tuning.domain.search.base import PriorTask, Trial
from tuning.domain.search.bayesian import BayesianSearch
from tuning.domain.similarity import MOST_CERTAIN, probabilities_of_use

SEEDS = range(2)
MOST_LAUNCHES = 25
NEAR_THE_BEST = 0.95 * 100.0

SPACE = space_of(GRID)


def launches(priors: list[PriorTask]) -> int:
    """In all, over some seeds, until one comes within 5 % of the best."""
    return sum(_until_near_the_best(seed, priors) for seed in SEEDS)


def _until_near_the_best(seed: int, priors: list[PriorTask]) -> int:
    history: list[Trial] = []
    while len(history) < MOST_LAUNCHES:
        strategy = BayesianSearch(SPACE, seed, direction=Direction.MAXIMIZE, priors=priors)
        (proposal,) = strategy.ask(history, 1)
        history.append(success(proposal.parameters))
        if speed(proposal.parameters) >= NEAR_THE_BEST:
            break
    return len(history)


def trials(measure: Callable[[Configuration], float], some: list[Configuration]) -> list[Trial]:
    return [Trial(one, ExperimentStatus.SUCCESS, measure(one), None) for one in some]


def test_many_tasks_that_mislead_cost_a_tenth_at_most() -> None:
    """Five that were held for as similar as any can be, and in which good and bad are reversed."""
    listed = SPACE.listing()
    misleading = [
        PriorTask(probability, trials(lambda one: 1 / speed(one), Random(place).sample(listed, 12)))
        for place, probability in enumerate(probabilities_of_use([MOST_CERTAIN] * 5))
    ]
    assert launches(misleading) <= 1.1 * launches([])


def test_a_task_that_knew_nothing_of_two_flags_still_saves_launches() -> None:
    """It ran with one cache type and without flash attention all the time."""
    slice_of_it = [one for one in SPACE.listing() if (one["cache"], one["flash"]) == ("f16", False)]
    tried = {
        number: {name: one[name] for name in ("batch", "threads")}
        for number, one in enumerate(slice_of_it)
    }
    carried = carried_over(SPACE, tried)
    assert carried is not None
    assert carried.factor == 0.75
    brought = [
        Trial(configuration, ExperimentStatus.SUCCESS, speed(slice_of_it[key]), None)
        for key in carried.keys
        if (configuration := in_new_space(SPACE, tried[key])) is not None
    ]
    assert len(brought) == len(slice_of_it) == 48
    assert launches([PriorTask(MOST_CERTAIN * carried.factor, brought)]) < launches([])


def test_a_task_that_was_nothing_but_noise_costs_a_tenth_at_most() -> None:
    """Its noise is its own: it says nothing of how much this task's measurements vary."""

    def disturbed(place: int) -> list[PriorTask]:
        rng = Random(place)
        tried: list[Configuration] = rng.sample(list(SPACE.listing()), 30)
        return [PriorTask(MOST_CERTAIN, trials(lambda _: rng.uniform(50, 150), tried))]

    seeds = range(6, 12)
    cold = sum(_until_near_the_best(seed, []) for seed in seeds)
    warm = sum(_until_near_the_best(seed, disturbed(seed)) for seed in seeds)
    assert warm <= 1.1 * cold
