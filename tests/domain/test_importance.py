"""How much of the variance a flag explains, on data whose answer is known."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

import pytest

from tuning.domain.importance import main_effects
from tuning.domain.names import FlagValue

Experiments = list[tuple[Mapping[str, FlagValue], float]]


def test_the_formula_by_hand() -> None:
    # Means 2 and 6 of two groups of two: SSW = 2 + 2, SST = 9 + 1 + 1 + 9, n = 4, k = 2.
    experiments: Experiments = [
        ({"a": "x"}, 1.0),
        ({"a": "x"}, 3.0),
        ({"a": "y"}, 5.0),
        ({"a": "y"}, 7.0),
    ]

    (effect,) = main_effects(experiments, ["a"])

    assert effect.share == pytest.approx(1 - (4 / 2) / (20 / 3))
    assert [(group.values, group.count, group.mean) for group in effect.groups] == [
        (("x",), 2, 2.0),
        (("y",), 2, 6.0),
    ]


def test_a_flag_that_decides_everything_has_it_all_and_the_others_nothing() -> None:
    experiments: Experiments = [
        ({"decides": one, "idle": other}, 10.0 if one else 20.0)
        for one, other in itertools.product([True, False], [1, 2, 3])
    ]

    effects = main_effects(experiments, ["idle", "decides"])

    assert [(effect.flag, effect.share) for effect in effects] == [("decides", 1.0), ("idle", 0.0)]


def test_what_two_flags_only_do_together_is_in_nobodys_share() -> None:
    experiments: Experiments = [
        ({"a": a, "b": b}, 1.0 if a == b else 0.0)
        for a, b in itertools.product([True, False], repeat=2)
        for _ in range(3)
    ]

    assert [effect.share for effect in main_effects(experiments, ["a", "b"])] == [0.0, 0.0]


def test_a_numeric_flag_of_many_values_is_put_into_groups_of_neighbours() -> None:
    experiments: Experiments = [({"size": size}, float(size)) for size in range(100, 0, -1)]

    (effect,) = main_effects(experiments, ["size"])

    assert [(group.values[0], group.values[-1], group.count) for group in effect.groups] == [
        (1, 20, 20),
        (21, 40, 20),
        (41, 60, 20),
        (61, 80, 20),
        (81, 100, 20),
    ]
    assert effect.share == pytest.approx(0.96, abs=0.01)


def test_equal_numbers_stay_in_one_group() -> None:
    experiments: Experiments = [({"size": size}, 1.0) for size in [1] * 20 + list(range(2, 12))]

    (effect,) = main_effects(experiments, ["size"])

    assert effect.groups[0].values == (1,)
    assert effect.groups[0].count == 20


def test_noise_alone_explains_next_to_nothing() -> None:
    rng = random.Random(3)
    experiments: Experiments = [
        ({"choice": rng.choice("abcde"), "size": rng.random()}, rng.random()) for _ in range(200)
    ]

    assert all(
        (effect.share or 0.0) < 0.05 for effect in main_effects(experiments, ["choice", "size"])
    )


def test_a_flat_objective_is_explained_by_nothing() -> None:
    experiments: Experiments = [({"a": value}, 0.1) for value in (1, 1, 2, 2)]

    (effect,) = main_effects(experiments, ["a"])

    assert effect.share == 0.0


@pytest.mark.parametrize(
    "settings", [[], ["x"], ["x", "x", "x"], ["x", "y", "z"]], ids=["none", "one", "same", "all"]
)
def test_nothing_is_said_where_there_is_nothing_to_compare(settings: list[str]) -> None:
    experiments: Experiments = [({"a": one}, float(n)) for n, one in enumerate(settings)]

    (effect,) = main_effects(experiments, ["a"])

    assert effect.share is None


def test_experiments_without_the_flag_are_left_out_and_unknown_effects_come_last() -> None:
    experiments: Experiments = [
        ({}, 1_000.0),
        ({"b": 1}, 1.0),
        ({"b": 1}, 2.0),
        ({"b": 2}, 4.0),
        ({"b": 2}, 5.0),
    ]

    known, unknown = main_effects(experiments, ["a", "b"])

    assert (known.flag, known.count) == ("b", 4)
    assert (unknown.flag, unknown.share, unknown.count) == ("a", None, 0)


def test_true_is_not_the_number_one() -> None:
    experiments: Experiments = [
        ({"a": True}, 1.0),
        ({"a": True}, 1.0),
        ({"a": 1}, 2.0),
        ({"a": 1}, 2.0),
    ]

    (effect,) = main_effects(experiments, ["a"])

    assert len(effect.groups) == 2
    assert effect.share == 1.0
