"""Several objectives, automatic repeats and the rounds of verification in a task file."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.domain.task_files import minimal_task, problems_in, spec_of
from tuning.domain.spec import parse_task, task_json_schema

TTFT = {"metric": "ttft_p99_s", "direction": "minimize"}
VALIDATOR = Draft202012Validator(task_json_schema())


def with_objective(objective: Any) -> dict[str, Any]:
    return minimal_task(optimization={"objective": objective})


def test_one_objective_stays_one() -> None:
    spec = parse_task(with_objective("maximize_throughput"))

    assert [one.name for one in spec.objectives] == ["maximize_throughput"]
    assert spec.objective == spec.objectives[0]
    assert spec.to_document()["optimization"]["objective"] == "maximize_throughput"


def test_a_list_is_read_in_its_order_and_written_back() -> None:
    spec = parse_task(with_objective(["minimize_tpot", TTFT]))

    assert [one.metric for one in spec.objectives] == ["tpot_mean_s", "ttft_p99_s"]
    assert spec.objective.metric == "tpot_mean_s"
    assert spec.to_document()["optimization"]["objective"] == ["minimize_tpot", TTFT]
    assert parse_task(spec.to_document()) == spec


@pytest.mark.parametrize(
    ("objective", "path", "message"),
    [
        ([], "optimization.objective", "must have 2 to 4 objectives"),
        (["minimize_ttft"], "optimization.objective", "a single one stands without brackets"),
        (["minimize_ttft"] * 5, "optimization.objective", "must have 2 to 4 objectives"),
        (["minimize_ttft", "fast"], "optimization.objective[1]", "must be one of"),
        (
            ["minimize_ttft", {"metric": "ttft_mean_s", "direction": "minimize"}],
            "optimization.objective[1]",
            "has the metric of another objective, ttft_mean_s",
        ),
        (
            ["minimize_ttft", {"metric": "tpot", "direction": "up"}],
            "optimization.objective[1].direction",
            "must be one of minimize, maximize",
        ),
    ],
)
def test_a_wrong_list_is_refused_with_its_place(objective: Any, path: str, message: str) -> None:
    assert message in problems_in(with_objective(objective))[path]


def test_repeats_are_a_number_or_automatic() -> None:
    assert spec_of().benchmark.repeats_per_launch == 1
    assert spec_of(benchmark={"repeats": 3}).benchmark.repeats_per_launch == 3
    automatic = spec_of(benchmark={"repeats": "auto"})
    assert automatic.benchmark.repeats_per_launch == 1
    assert automatic.to_document()["benchmark"]["repeats"] == "auto"


@pytest.mark.parametrize("repeats", [0, 1001, True, 1.5, "3", "automatic", None, [2]])
def test_other_repeats_are_refused(repeats: Any) -> None:
    problems = problems_in(minimal_task(benchmark={"repeats": repeats}))

    assert 'must be a whole number from 1 to 1000, or "auto"' in problems["benchmark.repeats"]


def test_automatic_repeats_need_a_single_objective() -> None:
    document = with_objective(["minimize_ttft", "maximize_throughput"])
    problems = problems_in(document | {"benchmark": {"repeats": "auto"}})

    assert "several objectives" in problems["benchmark.repeats"]


@pytest.mark.parametrize("rounds", [0, 2, 20])
def test_rounds_of_verification(rounds: int) -> None:
    spec = spec_of(optimization={"verification": rounds})

    assert spec.optimization.verification == rounds


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        (1, "a single round has no confidence interval"),
        (-1, "must be at least 0"),
        (21, "must be at most 20"),
        ("3", "leave out the quotes"),
        (True, "must be a whole number"),
    ],
)
def test_other_rounds_are_refused(rounds: Any, message: str) -> None:
    problems = problems_in(minimal_task(optimization={"verification": rounds}))

    assert message in problems["optimization.verification"]


@pytest.mark.parametrize(
    "document",
    [
        with_objective(["minimize_ttft", "maximize_throughput", TTFT]),
        minimal_task(benchmark={"repeats": "auto"}),
        minimal_task(optimization={"verification": 0}),
    ],
)
def test_the_schema_takes_them(document: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(document)
    assert VALIDATOR.is_valid(parse_task(document).to_document())


@pytest.mark.parametrize(
    "document",
    [
        with_objective(["minimize_ttft"]),
        with_objective(["minimize_ttft", "fast"]),
        minimal_task(benchmark={"repeats": "automatic"}),
        minimal_task(optimization={"verification": 21}),
    ],
)
def test_an_editor_can_show_what_is_wrong(document: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(document)
