"""Better, no difference, worse or unstable: on rounds whose truth is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest

from tuning.domain.metrics import Direction
from tuning.domain.objectives import Objective, gain
from tuning.domain.verdict import (
    Finding,
    GainVerdict,
    Reference,
    Round,
    judge_rounds,
)

UP, DOWN = Direction.MAXIMIZE, Direction.MINIMIZE
THROUGHPUT = "output_throughput_tokens_per_s"

Launch = Callable[[float], float]
"""A measurement of a configuration whose true value is given."""


def judged(
    pairs: Sequence[tuple[float | None, float | None]], direction: Direction = UP
) -> GainVerdict:
    return judge_rounds(THROUGHPUT, direction, [Round(*pair) for pair in pairs])


# --- One verdict after the other ---


def test_the_interval_by_hand() -> None:
    # Logarithms of the ratios 1.1, 1.2 and 1.3; t with 2 degrees of freedom is 4.3027.
    verdict = judged([(110.0, 100.0), (120.0, 100.0), (130.0, 100.0)])
    logs = [math.log(1.1), math.log(1.2), math.log(1.3)]
    mean = sum(logs) / 3
    error = math.sqrt(sum((one - mean) ** 2 for one in logs) / 2) / math.sqrt(3)

    assert verdict.gain == pytest.approx(math.exp(mean) - 1)
    assert verdict.low == pytest.approx(math.exp(mean - 4.302653 * error) - 1)
    assert verdict.high == pytest.approx(math.exp(mean + 4.302653 * error) - 1)
    assert verdict.rounds == 3


def test_a_clear_gain_is_better_in_either_direction() -> None:
    faster = judged([(150.0, 100.0), (152.0, 101.0), (149.0, 99.0)])
    quicker = judged([(100.0, 150.0), (101.0, 152.0), (99.0, 149.0)], DOWN)

    assert faster.finding is quicker.finding is Finding.BETTER
    assert faster.gain == pytest.approx(0.5, abs=0.01)
    assert quicker.gain == pytest.approx(1 / 3, abs=0.01)
    assert quicker.low is not None
    assert quicker.high is not None
    assert 0 < quicker.low < 1 / 3 < quicker.high < 1


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_the_gain_is_defined_as_it_is_without_verification(direction: Direction) -> None:
    objective = Objective("any", THROUGHPUT, direction)

    assert judged([(80.0, 100.0)] * 2, direction).gain == pytest.approx(
        gain(80.0, 100.0, objective)
    )


def test_a_clear_loss_is_worse() -> None:
    verdict = judged([(100.0, 150.0), (101.0, 152.0), (99.0, 149.0)])

    assert verdict.finding is Finding.WORSE
    assert verdict.high is not None
    assert verdict.high < 0


def test_small_differences_both_ways_are_none() -> None:
    verdict = judged([(101.0, 100.0), (99.0, 100.0), (100.5, 100.0)])

    assert verdict.finding is Finding.NO_DIFFERENCE
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low < 0 < verdict.high


def test_equal_values_are_no_difference_and_a_constant_gain_is_sure() -> None:
    assert judged([(50.0, 50.0)] * 3).finding is Finding.NO_DIFFERENCE
    sure = judged([(60.0, 50.0)] * 3)
    assert sure.finding is Finding.BETTER
    assert sure.low == pytest.approx(sure.high)


def test_rounds_that_contradict_each_other_are_unstable() -> None:
    verdict = judged([(110.0, 100.0), (93.0, 100.0), (100.0, 100.0), (100.0, 100.0)])

    assert verdict.finding is Finding.UNSTABLE
    assert "contradict" in verdict.reason
    assert "-7% to +10%" in verdict.reason


def test_values_that_vary_too_much_are_unstable() -> None:
    verdict = judged([(140.0, 100.0), (99.0, 100.0), (118.0, 100.0)])

    assert verdict.finding is Finding.UNSTABLE
    assert verdict.noise_cv == pytest.approx(0.123, abs=0.01)
    assert "12%" in verdict.reason


def test_a_large_gain_is_better_however_it_varies() -> None:
    assert judged([(300.0, 100.0), (350.0, 100.0), (400.0, 100.0)]).finding is Finding.BETTER


def test_a_winner_that_fails_again_is_unstable_whatever_its_speed() -> None:
    rounds = [Round(200.0, 100.0), Round(201.0, 100.0), Round(None, 100.0)]
    verdict = judge_rounds(THROUGHPUT, UP, rounds, ["it crashed in round 3"])

    assert verdict.finding is Finding.UNSTABLE
    assert verdict.reason == "it crashed in round 3"
    assert verdict.rounds == 2


def test_one_round_is_no_proof() -> None:
    verdict = judged([(200.0, 100.0), (None, 100.0), (200.0, None)])

    assert verdict.finding is Finding.NOT_VERIFIED
    assert verdict.gain == pytest.approx(1.0)
    assert verdict.low is None
    assert verdict.reason.startswith("1 of 3 rounds")
    assert judged([]).finding is Finding.NOT_VERIFIED


def test_zeros_have_no_ratio() -> None:
    assert judged([(0.0, 100.0), (10.0, 100.0)]).finding is Finding.NOT_VERIFIED


def test_absurd_values_give_finite_bounds() -> None:
    verdict = judged([(1e300, 1e-300), (1e-300, 1e300)])

    assert all(math.isfinite(value or 0.0) for value in (verdict.gain, verdict.low, verdict.high))


def test_a_verdict_survives_storage() -> None:
    verdict = GainVerdict(THROUGHPUT, Finding.WORSE, 7, Reference.RUNNER_UP, 3, -0.2, -0.3, -0.1)

    assert GainVerdict.of_document(verdict.as_document()) == verdict


# --- How often it is wrong ---


def lognormal(rng: random.Random, cv: float) -> Launch:
    sigma = math.sqrt(math.log(1 + cv**2))
    return lambda true: true * math.exp(rng.gauss(0.0, sigma))


def with_outliers(rng: random.Random, cv: float) -> Launch:
    """Now and then something else takes a third of the machine."""
    plain = lognormal(rng, cv)
    return lambda true: plain(true) * (0.67 if rng.random() < 0.05 else 1.0)


def slowing_down(rng: random.Random, cv: float) -> Launch:
    """Each launch is 3 % slower than the one before: a machine that gets hot."""
    plain, launches = lognormal(rng, cv), iter(range(10**9))
    return lambda true: plain(true) * 0.97 ** next(launches)


def tuned_and_verified(launch: Launch, values: Sequence[float], rounds: int) -> GainVerdict:
    """A whole search over configurations with these true values, the first being the baseline."""
    found = [launch(value) for value in values]
    winner = values[max(range(1, len(values)), key=found.__getitem__)]
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            reference, again = launch(values[0]), launch(winner)
        else:
            again, reference = launch(winner), launch(values[0])
        pairs.append((again, reference))
    return judged(pairs)


@pytest.mark.parametrize("noise", [lognormal, with_outliers, slowing_down])
@pytest.mark.parametrize("cv", [0.02, 0.10])
@pytest.mark.parametrize("rounds", [2, 3, 5])
def test_of_equal_configurations_hardly_any_is_a_false_winner(
    noise: Callable[[random.Random, float], Launch], cv: float, rounds: int
) -> None:
    """The bar is 5 % of all runs. Twenty-one configurations that are all the same."""
    tasks = 2_000
    false_winners = sum(
        tuned_and_verified(noise(random.Random(seed), cv), [100.0] * 21, rounds).finding
        is Finding.BETTER
        for seed in range(tasks)
    )

    assert false_winners / tasks <= 0.05


@pytest.mark.parametrize(("cv", "gain"), [(0.02, 0.25), (0.10, 1.5)])
def test_a_gain_well_above_the_noise_is_mostly_found(cv: float, gain: float) -> None:
    tasks = 500
    verdicts = [
        tuned_and_verified(lognormal(random.Random(seed), cv), [100.0, 100.0 * (1 + gain)], 3)
        for seed in range(tasks)
    ]

    assert sum(one.finding is Finding.BETTER for one in verdicts) / tasks > 0.9


@pytest.mark.parametrize("cv", [0.02, 0.10])
def test_the_interval_holds_the_truth_as_often_as_it_says(cv: float) -> None:
    tasks = 2_000
    verdicts = [
        tuned_and_verified(lognormal(random.Random(seed), cv), [100.0, 130.0], 3)
        for seed in range(tasks)
    ]
    hits = sum((one.low or 0.0) <= 0.3 <= (one.high or 0.0) for one in verdicts)

    assert hits / tasks == pytest.approx(0.95, abs=0.02)
