"""The parameter space: its size, its order, its limits, and the keys of its configurations."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.domain.constraints import kinds_of, parse_constraint
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Choices, Fixed, FloatRange, IntRange, Parameter
from tuning.domain.space import (
    ConstraintsTooTight,
    ParameterSpace,
    SpaceTooLarge,
    configuration_hash,
)


def space_of(parameters: dict[str, Parameter], *constraints: str) -> ParameterSpace:
    kinds = {name: kinds_of(parameter) for name, parameter in parameters.items()}
    return ParameterSpace(parameters, [parse_constraint(text, kinds) for text in constraints])


SMALL = space_of(
    {"tp-size": Choices((1, 2)), "ctx-size": Fixed(4096), "dp-size": IntRange(1, 3)},
    "tp-size * dp-size <= 4",
)
TRILLION = space_of({f"f{index}": IntRange(1, 10) for index in range(12)})


def test_configurations_come_in_file_order_with_fixed_flags_and_the_last_flag_fastest() -> None:
    assert list(SMALL.configurations()) == [
        {"tp-size": 1, "ctx-size": 4096, "dp-size": 1},
        {"tp-size": 1, "ctx-size": 4096, "dp-size": 2},
        {"tp-size": 1, "ctx-size": 4096, "dp-size": 3},
        {"tp-size": 2, "ctx-size": 4096, "dp-size": 1},
        {"tp-size": 2, "ctx-size": 4096, "dp-size": 2},
    ]


def test_fixed_and_tuned_flags_and_the_baseline() -> None:
    assert SMALL.fixed == {"ctx-size": 4096}
    assert SMALL.tuned == ("tp-size", "dp-size")
    assert SMALL.baseline() == {"ctx-size": 4096}
    assert SMALL.size == 6


def test_a_grid_of_a_trillion_answers_its_size_at_once_and_refuses_to_be_listed() -> None:
    started = time.perf_counter()
    assert TRILLION.size == 10**12
    with pytest.raises(SpaceTooLarge, match=r"there are 1000000000000 \(10 x 10 .*at most 10000"):
        TRILLION.listing()
    assert next(TRILLION.configurations()) == {f"f{index}": 1 for index in range(12)}
    assert time.perf_counter() - started < 0.5


def test_a_continuous_space_has_no_size_and_says_why_it_is_not_listed() -> None:
    continuous = space_of({"share": FloatRange(0.1, 0.9), "tp-size": Choices((1, 2))})
    assert continuous.size is None
    with pytest.raises(SpaceTooLarge, match="share can take any value of a range"):
        continuous.listing()


def test_constraints_can_make_a_large_space_small_enough_to_list() -> None:
    tight = space_of({"a": IntRange(1, 1_000), "b": IntRange(1, 1_000)}, "a <= 3", "b <= 2")
    assert tight.size == 1_000_000
    assert len(tight.listing(limit=6)) == 6
    with pytest.raises(SpaceTooLarge, match="1000000 before constraints"):
        tight.listing(limit=5)


def test_enumeration_gives_up_when_everything_is_rejected() -> None:
    impossible = space_of({f"f{index}": IntRange(1, 10**6) for index in range(3)}, "f2 < f1 - f1")
    with pytest.raises(ConstraintsTooTight, match=r"f2 < f1 - f1"):
        next(impossible.configurations())


def test_a_rejected_prefix_is_never_completed() -> None:
    """Without pruning this scan would reject 10^6 candidates before the first configuration."""
    pruned = space_of({"a": Choices((1, 2)), "b": IntRange(1, 10**6)}, "a == 2")
    assert next(pruned.configurations()) == {"a": 2, "b": 1}


def test_sampling_gives_up_when_everything_is_rejected() -> None:
    impossible = space_of({"a": IntRange(1, 9)}, "a > 9")
    with pytest.raises(ConstraintsTooTight, match="a > 9"):
        impossible.sample(Random(0))


@given(st.integers())
def test_a_sample_is_contained(seed: int) -> None:
    sample = SMALL.sample(Random(seed))
    assert SMALL.contains(sample)
    assert sample in SMALL.listing()


@pytest.mark.parametrize(
    "other",
    [
        {"tp-size": 2, "ctx-size": 4096, "dp-size": 3},
        {"tp-size": True, "ctx-size": 4096, "dp-size": 1},
        {"tp-size": 1, "ctx-size": 4096.0, "dp-size": 1},
        {"tp-size": 1, "dp-size": 1},
        {"tp-size": 1, "ctx-size": 4096, "dp-size": 1, "more": 1},
        {"ctx-size": 4096},
    ],
)
def test_what_is_not_contained(other: dict[str, FlagValue]) -> None:
    assert not SMALL.contains(other)


def test_a_space_without_tuned_flags_has_one_configuration() -> None:
    assert space_of({"ctx-size": Fixed(1)}).listing() == [{"ctx-size": 1}]
    assert space_of({}).listing() == [{}]


VALUES = st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 2.5]) | st.text(max_size=3)
CONFIGURATIONS = st.dictionaries(st.sampled_from("abcd"), VALUES)


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_keys_differ_exactly_when_configurations_do(
    left: dict[str, FlagValue], right: dict[str, FlagValue]
) -> None:
    def typed(configuration: dict[str, FlagValue]) -> dict[str, tuple[type, FlagValue]]:
        return {name: (type(value), value) for name, value in configuration.items()}

    same_key = configuration_hash(left) == configuration_hash(right)
    assert same_key is (typed(left) == typed(right))


def test_a_key_is_stable_and_does_not_depend_on_order() -> None:
    """Keys are stored: this one must be the same in every release."""
    assert configuration_hash({"b": 1, "a": True}) == "a3f44886ecd0b866"
    assert configuration_hash({"b": 1, "a": True}) == configuration_hash({"a": True, "b": 1})
