"""`optimization.warm_start`: what may stand there, and what is said of everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.domain.task_files import minimal_task, problems_in
from tuning.domain.spec import parse_task, task_json_schema
from tuning.domain.spec_warm_start import MOST_NAMED
from tuning.domain.spec_yaml import read_task_text

VALIDATOR = Draft202012Validator(task_json_schema())
PATH = "optimization.warm_start"


def document(warm_start: Any, strategy: str = "bayesian") -> dict[str, Any]:
    return minimal_task(
        optimization={"strategy": strategy, "max_iterations": 4, "warm_start": warm_start}
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [(True, True), (False, False), ([12, 14], (12, 14)), ([2**63 - 1], (2**63 - 1,))],
)
def test_what_may_stand_there_survives_being_written(written: Any, read: Any) -> None:
    spec = parse_task(document(written))
    assert spec.optimization.warm_start == read
    normalised = spec.to_document()
    assert normalised["optimization"]["warm_start"] == written
    assert parse_task(json.dumps(normalised)) == spec
    assert parse_task(read_task_text(yaml.safe_dump(normalised))) == spec
    assert VALIDATOR.is_valid(document(written))
    assert VALIDATOR.is_valid(normalised)


def test_a_search_starts_cold_unless_it_is_asked_to() -> None:
    assert parse_task(minimal_task()).optimization.warm_start is False


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("yes", PATH, "must be true, false, or a list of task numbers such as [12, 14]"),
        (12, PATH, "must be true, false, or a list of task numbers such as [12, 14]"),
        (None, PATH, "must be true, false, or a list of task numbers such as [12, 14]"),
        ({"tasks": [1]}, PATH, "must be true, false, or a list of task numbers such as [12, 14]"),
        ([], PATH, "must name a task at least; false starts from none"),
        ([1, 0], f"{PATH}[1]", "must be the number of a task, from 1"),
        ([-3], f"{PATH}[0]", "must be the number of a task, from 1"),
        ([2**63], f"{PATH}[0]", "must be a whole number of at most 64 bits"),
        ([1.0], f"{PATH}[0]", "must be the number of a task"),
        ([True], f"{PATH}[0]", "must be the number of a task; true and false are none"),
        (["12"], f"{PATH}[0]", "must be the number of a task; leave out the quotes"),
        ([7, 8, 7], f"{PATH}[2]", "is there twice; keep one"),
        (list(range(1, MOST_NAMED + 2)), PATH, f"must name at most {MOST_NAMED} tasks"),
    ],
)
def test_what_is_wrong_is_said_in_its_place(written: Any, place: str, message: str) -> None:
    assert problems_in(document(written)) == {place: message}


@pytest.mark.parametrize("written", ["yes", 12, None, [], [0], ["12"], [True], [7, 7]])
def test_an_editor_can_show_it(written: Any) -> None:
    assert not VALIDATOR.is_valid(document(written))


@pytest.mark.parametrize("strategy", ["grid_search", "random"])
@pytest.mark.parametrize("written", [True, [12]])
def test_only_a_strategy_that_learns_can_start_from_others(strategy: str, written: Any) -> None:
    assert problems_in(document(written, strategy)) == {
        PATH: f"must be false for {strategy}, which learns nothing from results; set "
        'optimization.strategy to "bayesian"'
    }
    assert problems_in(document(False, strategy)) == {}


def test_a_mistake_in_the_strategy_is_not_one_here() -> None:
    assert list(problems_in(document(True, "baysian"))) == ["optimization.strategy"]
