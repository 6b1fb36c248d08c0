"""Several objectives, repeats, rounds and earlier tasks in the form, and back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.domain.task_files import minimal_task
from tests.web.task_forms import round_trip, switched
from tuning.domain.spec import parse_task
from tuning.web.task_form.editor import Tab, changed, edit_document

TTFT_P99 = {"metric": "ttft_p99_s", "direction": "minimize"}
SEVERAL = minimal_task(optimization={"objective": ["maximize_throughput", TTFT_P99]})


@pytest.mark.django_db
def test_several_objectives_are_rows_of_the_form() -> None:
    editor = edit_document(SEVERAL)

    assert editor.tab is Tab.FORM
    assert editor.form
    names = [row.cells["name"] for row in editor.form.rows["objectives"]]
    assert names == ["maximize_throughput", "metric"]
    assert parse_task(editor.source) == parse_task(SEVERAL)
    assert round_trip(parse_task(SEVERAL)) == parse_task(SEVERAL)


@pytest.mark.django_db
def test_one_of_two_objectives_that_is_left_stands_without_a_list() -> None:
    editor = changed(edit_document(SEVERAL), "remove:objectives:0")

    assert isinstance(editor.source, dict)
    assert editor.source["optimization"]["objective"] == TTFT_P99


@pytest.mark.django_db
def test_no_more_than_four_objectives_are_offered() -> None:
    editor = switched(edit_document(SEVERAL), *["add:objectives"] * 5)

    assert editor.form
    assert len(editor.form.rows["objectives"]) == 4
    # Rows that nobody has filled in ask for nothing.
    assert parse_task(editor.source) == parse_task(SEVERAL)


@pytest.mark.parametrize(
    ("objective", "shows"),
    [
        ("metric", False),
        (["maximize_throughput"], False),
        (["minimize_ttft", 5], True),
        (["minimize_ttft", ["minimize_tpot"]], False),
        (["minimize_ttft", {**TTFT_P99, "weight": 2}], False),
    ],
)
@pytest.mark.django_db
def test_a_wrong_list_is_shown_only_where_all_its_mistakes_are(objective: Any, shows: bool) -> None:
    editor = edit_document(minimal_task(optimization={"objective": objective}))

    assert (editor.tab is Tab.FORM) is shows
    assert editor.preview.problems


@pytest.mark.parametrize("warm_start", [False, True, [3], [12, 14]])
def test_earlier_tasks_survive_the_form(warm_start: Any) -> None:
    search = {"strategy": "bayesian", "max_iterations": 9, "warm_start": warm_start}
    spec = parse_task(minimal_task(optimization=search))

    assert round_trip(spec) == spec


@pytest.mark.parametrize("repeats", [2, "auto"])
@pytest.mark.parametrize("rounds", [0, 5])
def test_repeats_and_rounds_survive_the_form(repeats: Any, rounds: int) -> None:
    spec = parse_task(
        minimal_task(benchmark={"repeats": repeats}, optimization={"verification": rounds})
    )

    assert round_trip(spec) == spec
