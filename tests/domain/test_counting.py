"""Counting configurations without listing them, against listing them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.task_files import spec_of
from tuning.domain.counting import MOST_LISTED, configuration_at, extent_of
from tuning.domain.space import ParameterSpace
from tuning.domain.spec import InvalidTask

PARAMETERS: dict[str, Any] = {
    "aa": [4, 2, 8],
    "bb": {"type": "int", "low": 1, "high": 9, "step": 3},
    "cc": {"type": "int", "low": 1, "high": 10, "log": True},
    "dd": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
    "ee": ["x", True],
    "ff": 7,
}
CONSTRAINTS = (
    "aa * bb <= 16",
    "bb < cc",
    "dd < 0.3",
    "not ee or cc > 1",
    "ff == 7",
    "aa < 8 or dd > 0.1",
)


def space_of(parameters: dict[str, Any], constraints: list[str] | None = None) -> ParameterSpace:
    optimization = {"strategy": "random", "max_iterations": 5}
    return spec_of(
        parameters=parameters, constraints=constraints or [], optimization=optimization
    ).space()


@given(st.sets(st.sampled_from(CONSTRAINTS)))
def test_it_finds_what_listing_finds(constraints: set[str]) -> None:
    space = space_of(PARAMETERS, sorted(constraints))
    listed = space.listing()
    extent = extent_of(space, ["aa", "cc"])

    assert extent.is_complete
    assert extent.size == len(listed)
    assert extent.last == listed[-1]
    watched = {tuple(flags.items()) for flags in extent.watched}
    occurring = {tuple((name, one[name]) for name in ("aa", "cc")) for one in listed}
    assert {pair for pairs in watched for pair in pairs} <= {
        pair for pairs in occurring for pair in pairs
    }
    assert max(flags["aa"] for flags in extent.watched) == max(one["aa"] for one in listed)


@given(st.data())
def test_a_configuration_by_its_place(data: st.DataObject) -> None:
    space = space_of(PARAMETERS)
    listed = space.listing()
    index = data.draw(st.integers(0, len(listed) - 1))

    assert configuration_at(space, index) == listed[index]


def test_huge_spaces_are_counted_exactly_while_their_flags_are_independent() -> None:
    wide = {"type": "int", "low": 1, "high": 10**9}
    extent = extent_of(space_of({"aa": wide, "bb": wide, "cc": [1, 2]}, ["cc < 2"]), ["aa"])

    assert extent.size == 10**18
    assert extent.last == {"aa": 10**9, "bb": 10**9, "cc": 1}
    assert extent.watched == ({"aa": 1}, {"aa": 10**9})


def test_tied_flags_are_listed_up_to_a_limit() -> None:
    wide = {"type": "int", "low": 1, "high": 1000}
    extent = extent_of(space_of({"aa": wide, "bb": wide}, ["aa <= bb * 2"]))

    assert (extent.size, extent.is_complete, extent.last) == (MOST_LISTED, False, None)


def test_a_gap_that_is_too_wide_to_look_behind_leaves_a_lower_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tuning.domain.space.MAX_REJECTIONS", 1000)
    wide = {"type": "int", "low": 1, "high": 10**4}
    extent = extent_of(space_of({"aa": wide}, ["aa < 3 or aa > 9000"]))

    assert (extent.size, extent.is_complete) == (2, False)


def test_a_continuous_space_has_no_size() -> None:
    share = {"type": "float", "low": 0.1, "high": 0.9}
    free = extent_of(space_of({"aa": share, "bb": [1, 2]}), ["aa", "bb"])
    tied = extent_of(space_of({"aa": share, "bb": [1, 2]}, ["aa * bb < 1"]), ["bb"])

    assert free.size is tied.size is None
    assert free.last is tied.last is None
    assert {flags["aa"] for flags in free.watched} == {0.1, 0.9}
    assert {flags["bb"] for flags in tied.watched} == {1, 2}


def test_the_file_says_so_when_nothing_is_left() -> None:
    with pytest.raises(InvalidTask, match="allow none"):
        space_of(PARAMETERS, ["aa > 8"])
