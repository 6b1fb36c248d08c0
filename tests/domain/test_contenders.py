"""Which configurations are worth another launch before one of them is called the best."""

from __future__ import annotations

import math
import random

import pytest

from tuning.domain.contenders import (
    MOST_CONTENDERS,
    MOST_LAUNCHES,
    MOST_REPEATS,
    Candidate,
    contenders,
    worth_repeating,
)
from tuning.domain.metrics import Direction

UP, DOWN = Direction.MAXIMIZE, Direction.MINIMIZE


def numbers(found: list[Candidate]) -> list[int]:
    return [one.number for one in found]


def test_before_any_repeat_a_usual_noise_decides() -> None:
    # t(2) = 4.303 times 3 % to either side: overlap up to a factor of exp(0.2582) = 1.295.
    candidates = [Candidate(1, (100.0,)), Candidate(2, (128.0,)), Candidate(3, (98.0,))]

    assert numbers(contenders(candidates, UP)) == [2, 1]
    assert numbers(contenders(candidates, DOWN)) == [3, 1]


def test_repeats_that_agree_leave_one() -> None:
    candidates = [
        Candidate(1, (100.0, 100.4)),
        Candidate(2, (110.0, 110.5)),
        Candidate(3, (99.0, 99.2)),
    ]

    assert numbers(contenders(candidates, UP)) == [2]
    assert worth_repeating(candidates, UP, spent=3) == []


def test_repeats_that_differ_widely_keep_all() -> None:
    candidates = [Candidate(1, (100.0, 130.0)), Candidate(2, (110.0, 150.0))]

    assert numbers(contenders(candidates, UP)) == [2, 1]


def test_at_most_so_many_are_contenders_and_the_best_come_first() -> None:
    candidates = [Candidate(number, (100.0 + number,)) for number in range(10)]

    assert numbers(contenders(candidates, UP)) == [9, 8, 7, 6]
    assert len(contenders(candidates, UP)) == MOST_CONTENDERS


def test_equals_are_in_the_order_of_their_numbers() -> None:
    assert numbers(contenders([Candidate(2, (5.0,)), Candidate(1, (5.0,))], UP)) == [1, 2]


def test_those_with_the_fewest_launches_are_next() -> None:
    candidates = [Candidate(1, (100.0, 101.0)), Candidate(2, (100.0,)), Candidate(3, (99.0,))]

    assert numbers(worth_repeating(candidates, UP, spent=1)) == [2, 3, 1]


def test_it_ends_with_enough_launches_of_each_or_of_all() -> None:
    done = [Candidate(1, (100.0,) * MOST_LAUNCHES), Candidate(2, (100.0,) * MOST_LAUNCHES)]
    many = [Candidate(number, (100.0,)) for number in range(8)]

    assert worth_repeating(done, UP, spent=4) == []
    assert len(worth_repeating(many, UP, spent=MOST_REPEATS - 1)) == 1
    assert worth_repeating(many, UP, spent=MOST_REPEATS) == []


def test_one_alone_needs_no_repeats_and_zeros_have_no_logarithm() -> None:
    assert worth_repeating([Candidate(1, (100.0,))], UP, spent=0) == []
    assert worth_repeating([], UP, spent=0) == []
    assert worth_repeating([Candidate(1, (0.0,)), Candidate(2, (1.0,))], UP, spent=0) == []


@pytest.mark.parametrize("cv", [0.02, 0.10])
def test_the_true_best_is_chosen_more_often_than_by_single_launches(cv: float) -> None:
    """Ten configurations up to a few per cent apart, each launched once, then repeated."""
    tasks, once, repeated = 300, 0, 0
    for seed in range(tasks):
        rng = random.Random(seed)
        truth = {number: 100.0 * (1 + 0.01 * number) for number in range(10)}
        scores = {key: [value * math.exp(rng.gauss(0, cv))] for key, value in truth.items()}
        once += max(_candidates(scores), key=Candidate.mean).number == 9
        spent = 0
        while rivals := worth_repeating(_candidates(scores), UP, spent):
            scores[rivals[0].number].append(truth[rivals[0].number] * math.exp(rng.gauss(0, cv)))
            spent += 1
        assert spent <= MOST_REPEATS
        tried_again = [one for one in _candidates(scores) if len(one.scores) > 1]
        best = max(tried_again or _candidates(scores), key=Candidate.mean)
        repeated += best.number == 9

    assert repeated > once


def _candidates(scores: dict[int, list[float]]) -> list[Candidate]:
    return [Candidate(number, tuple(values)) for number, values in scores.items()]
