"""What an earlier task tried, as configurations of another task's space."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.task_files import spec_of
from tuning.domain.carrying_over import LEFT_OUT, OTHER_FIXED_FLAG, carried_over, in_new_space
from tuning.domain.names import FlagValue
from tuning.domain.parameters import Configuration
from tuning.domain.space import ParameterSpace

THREADS_AND_BATCH = {"threads": [1, 2, 4, 8], "batch": [64, 128, 256, 512]}


def space_of(parameters: Mapping[str, Any]) -> ParameterSpace:
    optimization = {"strategy": "random", "max_iterations": 1}
    return spec_of(parameters=dict(parameters), optimization=optimization).space()


def grid(**values: list[FlagValue]) -> dict[int, Configuration]:
    """All combinations, numbered."""
    return {
        number: dict(zip(values, combination, strict=True))
        for number, combination in enumerate(product(*values.values()))
    }


def test_the_same_space_is_carried_over_as_it_is() -> None:
    space = space_of(THREADS_AND_BATCH)
    tried = dict(enumerate(space.configurations()))
    carried = carried_over(space, tried)
    assert carried is not None
    assert (len(carried.keys), carried.factor) == (16, 1.0)
    assert all(in_new_space(space, one) == one for one in tried.values())


def test_a_flag_that_was_fixed_counts_with_its_value() -> None:
    space = space_of(THREADS_AND_BATCH)
    tried = grid(threads=[1, 2, 4, 8], batch=[512])
    carried = carried_over(space, tried)
    assert carried is not None
    assert carried.factor == 0.75, "half of the flags are covered"
    assert in_new_space(space, tried[0]) == {"threads": 1, "batch": 512}


def test_a_flag_that_was_left_out_says_nothing_and_hides_nothing() -> None:
    space = space_of(
        {
            "threads": [1, 2, 4],
            "batch": {"type": "int", "low": 64, "high": 512},
            "order": ["lpm", "fcfs"],
            "flash": [True, False],
            "slots": [1, 4],
        }
    )
    carried = carried_over(space, grid(threads=[1, 2, 4]))
    assert carried is not None
    assert len(carried.keys) == 3
    brought = in_new_space(space, {"threads": 2})
    assert brought is not None
    assert (brought["threads"], brought["flash"]) == (2, False), "false leaves a flag out"
    assert brought["order"] == brought["slots"] == LEFT_OUT
    assert brought["batch"] == (64 + 512) / 2


def test_a_text_has_no_place_among_numbers() -> None:
    space = space_of(THREADS_AND_BATCH)
    assert in_new_space(space, {"threads": "auto", "batch": 64}) is None
    assert in_new_space(space, {"threads": True, "batch": 64}) is None
    assert in_new_space(space, {"threads": 3, "batch": 9999}) == {"threads": 3, "batch": 9999}


def test_values_outside_of_the_new_ones_cover_little() -> None:
    space = space_of({"threads": [1, 2, 4, 8, 16]})

    def factor(*threads: FlagValue) -> float:
        carried = carried_over(space, grid(threads=list(threads)))
        return 0.0 if carried is None else carried.factor

    assert factor(1, 8, 16) == 1.0
    assert factor(1, 3, 5) == pytest.approx(0.5 + 0.5 * 3 / 5)
    assert factor(16, 64, 128) == pytest.approx(0.5 + 0.5 * 1 / 5)
    assert factor(32, 64, 128) == 0.0, "nothing in common"


def test_a_range_is_covered_by_ratios() -> None:
    space = space_of({"batch": {"type": "int", "low": 1, "high": 256, "log": True}})
    carried = carried_over(space, grid(batch=[16, 64, 1024]))
    assert carried is not None
    assert carried.factor == pytest.approx(0.75)
    from_zero = space_of({"share": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1}})
    carried = carried_over(from_zero, grid(share=[0.5, 0.75, 0.9]))
    assert carried is not None
    assert carried.factor == pytest.approx(0.5 + 0.5 * 0.4)


def test_one_slice_is_learnt_from_where_the_other_task_tuned_more() -> None:
    space = space_of({"threads": [1, 2, 4, 8], "cache": "q8_0"})
    tried = grid(threads=[1, 2, 4, 8], cache=["f16", "q8_0"])
    carried = carried_over(space, tried)
    assert carried is not None
    assert {tried[key]["cache"] for key in carried.keys} == {"q8_0"}
    assert carried.factor == 1.0
    elsewhere = carried_over(space, grid(threads=[1, 2, 4, 8], cache=["f16", "q4_0"]))
    assert elsewhere is not None
    assert (len(elsewhere.keys), elsewhere.factor) == (4, OTHER_FIXED_FLAG)


def test_a_flag_that_is_left_out_is_the_same_as_one_set_to_false() -> None:
    space = space_of({"threads": [1, 2, 4]})
    carried = carried_over(space, grid(threads=[1, 2, 4], flash=[False]))
    assert carried is not None
    assert carried.factor == 1.0
    # 1 and true are different settings, though Python calls them equal.
    fixed = space_of({"threads": [1, 2, 4], "flash": True})
    carried = carried_over(fixed, grid(threads=[1, 2, 4], flash=[1]))
    assert carried is not None
    assert carried.factor == OTHER_FIXED_FLAG


@pytest.mark.parametrize(
    "tried",
    [
        {},
        grid(threads=[1, 2], batch=[64]),
        grid(threads=[2], batch=[64], other=[1, 2, 3, 4]),
        grid(threads=[1, 2], batch=[64], other=[1, 2, 3, 4]),
    ],
)
def test_too_few_that_differ_in_the_right_flags_tell_nothing(
    tried: dict[int, Configuration],
) -> None:
    assert carried_over(space_of(THREADS_AND_BATCH), tried) is None


VALUES = st.one_of(st.integers(-4, 600), st.booleans(), st.sampled_from(["f16", "on", 0.5]))
CONFIGURATIONS = st.dictionaries(
    st.sampled_from(["threads", "batch", "cache", "flash", "other"]), VALUES, min_size=1
)


@given(st.lists(CONFIGURATIONS, max_size=12))
def test_whatever_was_tried_is_brought_into_the_space_or_left_out(
    tried: list[dict[str, FlagValue]],
) -> None:
    space = space_of({**THREADS_AND_BATCH, "cache": ["f16", "q8_0"], "flash": [True, False]})
    carried = carried_over(space, dict(enumerate(tried)))
    if carried is None:
        return
    assert 0 < carried.factor <= 1
    assert len(carried.keys) >= 3
    brought = [in_new_space(space, tried[key]) for key in carried.keys]
    assert all(one is not None and set(one) == set(space.tuned) for one in brought)
    others = {str(sorted(_others(space, tried[key]).items())) for key in carried.keys}
    assert len(others) == 1, "a single slice"


def _others(space: ParameterSpace, configuration: Configuration) -> dict[str, str]:
    return {
        name: repr(value)
        for name, value in configuration.items()
        if name not in space.tuned and value is not False
    }
