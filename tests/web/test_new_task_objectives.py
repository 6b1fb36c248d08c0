"""Several objectives, goodput and earlier tasks in the form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.web.new_task_pages import Page, posted, task_at


@pytest.fixture
def owner(db: None) -> User:
    """Without a password, whose hash takes longer than any page."""
    return User.objects.create(username="owner")


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


SECOND_OBJECTIVE: dict[str, Any] = {
    "objectives-row": ["2", "3"],
    "objectives-name": ["maximize_throughput", "metric"],
    "objectives-metric": ["", "ttft_p99_s"],
    "objectives-direction": ["", "minimize"],
}


def test_two_objectives_are_saved_as_a_list(browser: Client) -> None:
    task = task_at(posted(browser, do="draft", **SECOND_OBJECTIVE))
    assert task.spec["optimization"]["objective"] == [
        "maximize_throughput",
        {"metric": "ttft_p99_s", "direction": "minimize"},
    ]
    page = Page(browser.get(f"/tasks/{task.pk}/edit/"))
    assert {"field-objectives-0", "field-objectives-1"} <= page.values.keys()


@pytest.mark.parametrize(
    ("changes", "slot"),
    [
        ({"objectives-metric": ["", "output_throughput_tokens_per_s"],
          "objectives-direction": ["", "maximize"]}, "objectives-3"),
        ({"objectives-metric": ["", "speed"]}, "objectives-3"),
        ({"objectives-direction": ["", ""]}, "objectives-3"),
        ({"objectives-name": ["fastest", "metric"]}, "objectives-2"),
        ({"objectives-name": ["maximize_goodput", "metric"],
          "benchmark.num_concurrency": "1, 8"}, "optimization-objective"),
        ({"benchmark.repeats": "auto"}, "benchmark-repeats"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_of_two_objectives_is_told_at_its_row(
    browser: Client, changes: dict[str, Any], slot: str
) -> None:
    page = Page(posted(browser, do="draft", **{**SECOND_OBJECTIVE, **changes}))
    assert page.errors.keys() == {slot}
    assert f'href="#field-{slot}"' in page.text
    assert f"field-{slot}" in page.values


def test_goodput_can_be_asked_for(browser: Client) -> None:
    wanted = {"objectives-name": ["maximize_goodput"], "benchmark.num_concurrency": "1, 64"}
    task = task_at(posted(browser, do="draft", **wanted))
    assert task.parsed_spec().objective.name == "maximize_goodput"


@pytest.mark.parametrize(
    ("choice", "typed", "stored"),
    [("no", "", False), ("similar", "7", True), ("named", "12; 14", [12, 14])],
)
def test_earlier_tasks_to_start_from(browser: Client, choice: str, typed: str, stored: Any) -> None:
    search = {
        "optimization.strategy": "bayesian",
        "optimization.max_iterations": "9",
        "optimization.warm_start": choice,
        "optimization.warm_start.tasks": typed,
    }
    assert task_at(posted(browser, do="draft", **search)).spec["optimization"]["warm_start"] == (
        stored
    )
