"""The values that a declared parameter can take."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning.domain.names import FlagValue
from tuning.domain.parameters import (
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    Parameter,
    flag_name,
    same_value,
)

ENUMERABLE: list[tuple[Parameter, list[FlagValue]]] = [
    (Fixed("auto"), ["auto"]),
    (Choices((1, 1.0, True)), [1, 1.0, True]),
    (IntRange(1, 4), [1, 2, 3, 4]),
    (IntRange(1, 8, step=3), [1, 4, 7]),
    (IntRange(3, 20, log=True), [3, 6, 12, 20]),
    (IntRange(1, 8, log=True), [1, 2, 4, 8]),
    (IntRange(1, 7, step=2, log=True), [1, 3, 5, 7]),
    (FloatRange(0.1, 0.4, step=0.1), [0.1, 0.2, 0.3, 0.4]),
    (FloatRange(0.0, 1.0, step=0.4), [0.0, 0.4, 0.8]),
    (FloatRange(0.1, 0.4, step=0.1, log=True), [0.1, 0.2, 0.3, 0.4]),
]


@pytest.mark.parametrize(("parameter", "expected"), ENUMERABLE)
def test_values_cardinality_and_contains_agree(
    parameter: Parameter, expected: list[FlagValue]
) -> None:
    values = list(parameter.values())
    assert [(type(value), value) for value in values] == [
        (type(value), value) for value in expected
    ]
    assert parameter.cardinality == len(expected)
    assert all(parameter.contains(value) for value in expected)


@pytest.mark.parametrize(("parameter", "expected"), ENUMERABLE)
def test_samples_are_values_and_reach_them_all(
    parameter: Parameter, expected: list[FlagValue]
) -> None:
    rng = Random(1)
    samples = [parameter.sample(rng) for _ in range(500)]
    assert all(any(same_value(sample, value) for value in expected) for sample in samples)
    assert {repr(sample) for sample in samples} == {repr(value) for value in expected}


def test_one_and_one_point_zero_and_true_are_three_settings() -> None:
    assert not Fixed(1).contains(True)
    assert not Fixed(1).contains(1.0)
    assert not Choices((True, False)).contains(1)
    assert not IntRange(0, 5).contains(True)
    assert not IntRange(0, 5).contains(2.0)
    assert not FloatRange(0.0, 5.0).contains(2)


def test_a_continuous_range_is_sampled_but_not_enumerated() -> None:
    continuous = FloatRange(0.7, 0.9)
    assert continuous.cardinality is None
    assert continuous.contains(0.8123)
    assert not continuous.contains(0.91)
    with pytest.raises(ValueError, match="continuous"):
        continuous.values()


def test_a_logarithmic_range_favours_small_values() -> None:
    rng = Random(2)
    samples = [IntRange(1, 10_000, step=1, log=True).sample(rng) for _ in range(1_000)]
    assert sum(sample <= 100 for sample in samples) > 350


def test_a_range_of_a_trillion_values_is_lazy() -> None:
    wide = IntRange(1, 10**12)
    assert wide.cardinality == 10**12
    assert list(islice(wide.values(), 3)) == [1, 2, 3]


@given(
    low=st.floats(-1e6, 1e6),
    width=st.floats(1e-3, 1e6),
    step=st.floats(1e-3, 1e6),
    seed=st.integers(),
)
def test_a_stepped_range_contains_what_it_gives(
    low: float, width: float, step: float, seed: int
) -> None:
    stepped = FloatRange(low, low + width, step)
    assert stepped.contains(stepped.sample(Random(seed)))
    assert all(stepped.contains(value) for value in islice(stepped.values(), 20))


@given(
    low=st.integers(1, 2**62),
    width=st.integers(1, 2**61),
    step=st.none() | st.integers(1, 2**61),
    log=st.booleans(),
    seed=st.integers(),
)
def test_an_integer_range_contains_what_it_gives(
    low: int, width: int, step: int | None, log: bool, seed: int
) -> None:
    numbers = IntRange(low, low + width, step, log)
    assert numbers.contains(numbers.sample(Random(seed)))
    assert all(numbers.contains(value) for value in islice(numbers.values(), 20))


@pytest.mark.parametrize("written", ["tp-size", "tp_size", "--tp-size", " --tp_size "])
def test_spellings_of_a_flag(written: str) -> None:
    assert flag_name(written) == "tp-size"
