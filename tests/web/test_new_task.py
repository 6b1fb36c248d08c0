"""The editor of a new task: what it says, saves and offers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.domain.task_files import FULL_TASK, minimal_task
from tests.seeding import Seeding
from tests.web.new_task_pages import FORM, IMPORT, NEW, PREVIEW, Page, posted, task_at
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import parse_task
from tuning.models import Task
from tuning.presets import presets


@pytest.fixture
def owner(db: None) -> User:
    """Without a password, whose hash takes longer than any page."""
    return User.objects.create(username="owner")


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


def test_a_blank_page_accuses_nobody(browser: Client) -> None:
    page = Page(browser.get(NEW))
    assert not page.errors
    assert "Still to fill in" in page.text
    assert page.values["field-scenarios-0"] == "D(100,100)"


def test_what_is_typed_becomes_a_draft(browser: Client, owner: User) -> None:
    task = task_at(posted(browser, do="draft"))

    assert (task.state, task.owner) == (TaskStatus.DRAFT, owner)
    spec = task.parsed_spec()
    assert spec == parse_task(
        minimal_task(
            task_name="typed",
            model={"id_or_path": "SmolLM2-135M-Instruct.Q4_1.gguf"},
            parameters={
                "threads": [1, 2],
                "parallel": {"type": "int", "low": 1, "high": 4, "log": True},
            },
            constraints=["threads <= parallel"],
            slo={"ttft_p99_s": 0.5},
            benchmark={"traffic_scenarios": ["D(16,8)"]},
        )
    )


def test_save_and_start_leaves_it_to_the_workers(browser: Client) -> None:
    assert task_at(posted(browser, do="start")).state is TaskStatus.PENDING


def test_json_is_saved_as_it_stands(browser: Client) -> None:
    response = browser.post(NEW, {"tab": "json", "document": json.dumps(FULL_TASK), "do": "draft"})
    assert task_at(response).parsed_spec() == parse_task(FULL_TASK)


def test_a_flag_of_the_autotuners_own_is_told_at_its_row(browser: Client) -> None:
    typed = {"parameters-name": ["threads", "port"], "constraints-text": [""]}
    response = posted(browser, do="draft", **typed)
    assert response.status_code == 422
    assert "sets this flag" in Page(response).errors["parameters-7"]


def test_the_preview_of_a_good_task(browser: Client) -> None:
    page = Page(posted(browser, PREVIEW))
    assert not page.errors
    assert "Experiments</dt><dd>6 " in page.text
    assert "and 6 launches to verify the winner" in page.text
    assert "--threads 2 --parallel 4" in page.texts["command-last"]
    assert "--threads" not in page.texts["command-first"]
    assert "error-parameters-7" in page.texts
    assert "cheaper" not in page.texts


def test_the_preview_says_what_is_a_bound_and_what_comes_on_top(browser: Client) -> None:
    page = Page(posted(browser, PREVIEW)).text
    assert "at most about" in page
    assert "and 6 launches to verify the winner" in page

    page = Page(posted(browser, PREVIEW, optimization__pruning="off")).text
    assert "<dd>about" in page

    repeated = {"benchmark__repeats": "auto", "optimization__verification": "0"}
    page = Page(posted(browser, PREVIEW, **repeated)).text
    assert "repeats of those that may still be the best" in page
    assert "to verify the winner" not in page


def test_many_runs_offer_a_cheaper_search(browser: Client) -> None:
    wide = {"parameters-values": ["1..64", "1..64"]}
    assert "cheaper" in Page(posted(browser, PREVIEW, **wide)).texts
    page = Page(posted(browser, do="cheaper", **wide))
    assert page.values["field-optimization-max_iterations"] == "40"
    assert "cheaper" not in page.texts


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_preview_is_only_posted(browser: Client, method: str) -> None:
    assert getattr(browser, method)(PREVIEW).status_code == 405


def test_tabs_carry_over_what_was_typed(browser: Client) -> None:
    text = Page(posted(browser, do="to-json")).texts["field-document"]
    assert parse_task(text).task_name == "typed"

    page = Page(browser.post(NEW, {"tab": "json", "document": text, "do": "to-form"}))
    assert page.values["field-parameters-1"] == "1..4 log"
    assert page.values["field-task_name"] == "typed"


def test_a_tab_switch_by_htmx_is_the_editor_alone(browser: Client) -> None:
    headers = {"HX-Request": "true", "HX-Target": "editor"}
    response = browser.post(NEW, {**FORM, "do": "to-json"}, headers=headers)
    page = Page(response)
    assert "html" not in page.tags
    assert "field-document" in page.texts


def test_json_that_does_not_parse_stays_with_line_and_column(browser: Client) -> None:
    wrong = '{"task_name": "a",\n oops}'
    for command, status in (("to-form", 200), ("draft", 422)):
        response = browser.post(NEW, {"tab": "json", "document": wrong, "do": command})
        page = Page(response)
        assert response.status_code == status
        assert page.texts["field-document"].strip() == wrong
        assert "line 2, column 2" in page.text


def test_known_flags_come_by_engine(browser: Client) -> None:
    headers = {"HX-Request": "true", "HX-Target": "known-flags"}
    page = Page(browser.get(NEW, {"base_runtime": "sglang"}, headers=headers))
    assert page.tags[0] == "details"
    assert 'data-flag="tp-size"' in page.text
    assert 'data-value="fcfs"' in page.text
    unknown = browser.get(NEW, {"base_runtime": "<b>"}, headers=headers)
    assert "data-flag" not in unknown.content.decode()


def test_rows_can_be_added_and_removed_without_scripts(browser: Client) -> None:
    page = Page(posted(browser, do="add:slo"))
    assert {"field-slo-0", "field-slo-3"} <= set(page.values)
    page = Page(posted(browser, do="flag:ctx-size"))
    assert page.values["field-parameters-1-name"] == "ctx-size"
    page = Page(posted(browser, do="remove:parameters:0"))
    assert "field-parameters-0" not in page.values
    assert page.values["field-parameters-7-name"] == "parallel"


EVIL = '"><script>alert(1)</script>'


def test_what_is_typed_is_never_markup(browser: Client) -> None:
    typed = {
        "task_name": EVIL, "description": f"</textarea>{EVIL}", "base_runtime": EVIL,
        "model__id_or_path": EVIL, "parameters-name": [EVIL, "b"],
        "parameters-values": [EVIL, "1"], "parameters-row": [EVIL, "1"],
        "constraints-text": [EVIL], "slo-metric": [EVIL], "optimization__objective": EVIL,
        "benchmark__additional_params": EVIL,
    }  # fmt: skip
    for command in ("draft", "to-json", f"flag:{EVIL}"):
        assert "<script>alert" not in posted(browser, do=command, **typed).content.decode()
    assert "<script>alert" not in posted(browser, PREVIEW, **typed).content.decode()
    evil_json = {"tab": "json", "document": f"</textarea>{EVIL}", "do": "draft"}
    assert "<script>alert" not in browser.post(NEW, evil_json).content.decode()


@pytest.mark.parametrize("data", [
    {}, {"tab": "json"}, {"tab": "nonsense", "do": "draft"}, {"do": "remove:"}, {"do": "add:x:y:z"},
    {"tab": "json", "document": "[" * 100_000, "do": "to-form"},
    {"tab": "json", "document": '"text"', "do": "cheaper"},
    {"tab": "json", "document": '{"optimization": 3}', "do": "cheaper"},
    {"tab": "json", "document": '{"a": 1' + "0" * 5000 + "}", "do": "to-form"},
])  # fmt: skip
def test_nonsense_is_answered_politely(browser: Client, data: dict[str, str]) -> None:
    assert browser.post(NEW, data).status_code in (200, 422)
    assert browser.post(PREVIEW, data).status_code == 200


def test_a_mode_that_cannot_start_here_can_be_drafted(browser: Client) -> None:
    response = posted(browser, do="start", deployment_mode="ome")
    assert response.status_code == 422
    assert "be started" in Page(response).errors["deployment_mode"]
    assert not Task.objects.exists()
    assert task_at(posted(browser, do="draft", deployment_mode="ome")).state is TaskStatus.DRAFT


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_a_preset_opens_without_errors(browser: Client, preset: Any) -> None:
    page = Page(browser.get(NEW, {"preset": preset.name}))
    assert page.values["field-task_name"] == preset.title
    assert not page.errors
    assert not page.text.count("to put right")


def test_an_unknown_preset_is_not_found(browser: Client) -> None:
    assert browser.get(NEW, {"preset": "../settings"}).status_code == 404


def test_it_begins_from_an_own_task_only(
    browser: Client, stranger: User, browser_of: Callable[[User], Client], seeding: Seeding
) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=2)
    page = Page(browser.get(NEW, {"from": task_id}))
    assert page.values["field-task_name"] == Task.objects.get(pk=task_id).name
    assert browser_of(stranger).get(NEW, {"from": task_id}).status_code == 404
    for nonsense in ("x", "-1", "9" * 40, "²"):
        assert browser.get(NEW, {"from": nonsense}).status_code == 404


@pytest.mark.parametrize("address", [NEW, IMPORT, PREVIEW])
def test_nobody_is_here_without_signing_in(db: None, client: Client, address: str) -> None:
    response = client.post(address, {**FORM, "do": "draft"})
    assert response.status_code == 302
    assert response["Location"].startswith("/login/")
    assert not Task.objects.exists()


def test_the_page_asks_the_database_little(
    browser: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(15):
        browser.get(NEW)
    with django_assert_max_num_queries(8):
        posted(browser, PREVIEW)
