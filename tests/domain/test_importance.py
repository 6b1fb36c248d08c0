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


# --- Intervals ---


def test_the_interval_is_that_of_a_published_table() -> None:
    """F = 5 with 2 and 10 degrees of freedom: the noncentralities that SciPy's inverse gives."""
    from scipy.special import ncfdtrinc

    # Three groups whose sums of squares make F exactly 5: SSB = 30 with 2, SSW = 30 with 10.
    groups = {"a": [0.0] * 5, "b": [0.0] * 4, "c": [0.0] * 4}
    experiments = _with_f(groups, 5.0)

    (effect,) = main_effects(experiments, ["flag"])

    n = len(experiments)
    low, high = (ncfdtrinc(2, 10, p, 5.0) for p in (0.975, 0.025))
    assert effect.low == pytest.approx(low / (low + n), abs=1e-3)
    assert effect.high == pytest.approx(high / (high + n), abs=1e-3)


def _with_f(groups: dict[str, list[float]], statistic: float) -> Experiments:
    """Values whose analysis of variance gives this F: spread within groups is scaled to fit."""
    offsets = dict(zip(groups, (-1.0, 0.0, 1.0), strict=True))
    raw = {
        name: [(-1.0) ** index * (1 + index // 2) for index in range(len(values))]
        for name, values in groups.items()
    }
    centred = {
        name: [value - sum(values) / len(values) for value in values]
        for name, values in raw.items()
    }
    n, k = sum(map(len, groups.values())), len(groups)
    grand = sum(offsets[name] * len(values) for name, values in groups.items()) / n
    between = sum(len(values) * (offsets[name] - grand) ** 2 for name, values in groups.items()) / (
        k - 1
    )
    within = sum(value**2 for values in centred.values() for value in values) / (n - k)
    factor = (between / within / statistic) ** 0.5
    return [
        ({"flag": name}, offsets[name] + factor * value)
        for name, values in centred.items()
        for value in values
    ]


def test_the_share_lies_within_its_interval() -> None:
    rng = random.Random(4)
    for _ in range(100):
        experiments: Experiments = [
            ({"a": rng.choice("xyz"), "b": rng.random()}, rng.gauss(10, 1)) for _ in range(12)
        ]
        for effect in main_effects(experiments, ["a", "b"]):
            if effect.share is not None:
                assert effect.low is not None
                assert effect.high is not None
                assert 0 <= effect.low <= effect.share <= effect.high <= 1


@pytest.mark.parametrize("skewed", [False, True])
def test_a_flag_without_effect_is_called_flat(skewed: bool) -> None:
    """Another flag has a large effect, which is noise to the one that has none."""
    tasks, flat, found = 400, 0, 0
    for seed in range(tasks):
        rng = random.Random(seed)
        experiments: Experiments = []
        for _ in range(30):
            works = rng.choice([1, 2])
            noise = rng.lognormvariate(0, 0.5) if skewed else rng.gauss(0, 0.3)
            experiments.append(({"idle": rng.choice("abc"), "works": works}, 3.0 * works + noise))
        effects = {one.flag: one for one in main_effects(experiments, ["idle", "works"])}
        flat += effects["idle"].is_flat
        found += not effects["works"].is_flat

    assert flat / tasks >= 0.95
    assert found == tasks


def test_the_interval_holds_the_truth() -> None:
    """Two equal groups 2 apart with noise of 1: the share is 1 / (1 + 1)."""
    tasks, held = 500, 0
    for seed in range(tasks):
        rng = random.Random(seed)
        experiments: Experiments = [
            ({"a": group}, 2.0 * group + rng.gauss(0, 1)) for group in (0, 1) for _ in range(12)
        ]
        (effect,) = main_effects(experiments, ["a"])
        held += (effect.low or 0.0) <= 0.5 <= (effect.high or 0.0)

    assert held / tasks == pytest.approx(0.95, abs=0.03)


def test_what_is_not_known_is_not_flat() -> None:
    (effect,) = main_effects([({"a": 1}, 1.0), ({"a": 1}, 2.0)], ["a"])

    assert effect.share is None
    assert not effect.is_flat
    assert (effect.low, effect.high) == (None, None)


def test_a_flat_objective_makes_every_flag_flat_and_a_clean_one_is_sure() -> None:
    (same,) = main_effects([({"a": value}, 0.1) for value in (1, 1, 2, 2)], ["a"])
    (sure,) = main_effects([({"a": value}, float(value)) for value in (1, 1, 2, 2)], ["a"])

    assert same.is_flat
    assert (sure.share, sure.low, sure.high) == (1.0, 1.0, 1.0)
