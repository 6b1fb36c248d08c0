"""The New task page: both tabs, the live preview, saving, drafts, presets and imports."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from tests.domain.task_files import FULL_TASK, minimal_task
from tests.seeding import Seeding
from tuning import actions
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import parse_task
from tuning.models import Task
from tuning.presets import presets

NEW = "/tasks/new/"
PREVIEW = "/tasks/new/preview/"
IMPORT = "/tasks/import/"

FORM: dict[str, Any] = {
    "tab": "form",
    "task_name": "typed",
    "deployment_mode": "local",
    "base_runtime": "llamacpp",
    "model.id_or_path": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "optimization.strategy": "grid_search",
    "optimization.objective": "minimize_latency",
    "optimization.baseline": "on",
    "parameters-row": ["0", "7"],
    "parameters-name": ["threads", "parallel"],
    "parameters-values": ["1, 2", "1..4 log"],
    "constraints-row": ["0"],
    "constraints-text": ["threads <= parallel"],
    "scenarios-row": ["0"],
    "scenarios-text": ["D(16,8)"],
    "slo-row": ["3"],
    "slo-metric": ["ttft_p99_s"],
    "slo-max": ["0.5"],
    "slo-min": [""],
    "slo-hard": ["hard"],
    "slo-weight": [""],
    "slo-fail_ratio": [""],
    "slo-steepness": [""],
}


class Page(HTMLParser):
    """What a browser would have: the values of inputs by id, the texts of elements by id."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.tags: list[str] = []
        self._open: str | None = None
        self.text = response.content.decode()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self._open = named.get("id") or None
        if self._open:
            self.texts[self._open] = ""
            self.values[self._open] = named.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open] += data

    @property
    def errors(self) -> dict[str, str]:
        return {
            name.removeprefix("error-"): text
            for name, text in self.texts.items()
            if name.startswith("error-") and text and "__key__" not in name
        }


@pytest.fixture
def owner(db: None) -> User:
    """Without a password, whose hash takes longer than any page."""
    return User.objects.create(username="owner")


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


def posted(browser: Client, address: str = NEW, /, **changes: Any) -> Any:
    fields = {name.replace("__", "."): value for name, value in changes.items()}
    return browser.post(address, {**FORM, **fields})


def task_at(response: Any) -> Task:
    assert response.status_code == 303
    return Task.objects.get(pk=int(response["Location"].strip("/").rpartition("/")[2]))


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


WRONG: list[tuple[str, Any, str]] = [
    ("task_name", "", "task_name"),
    ("task_name", "x" * 101, "task_name"),
    ("task_name", "a\0b", "task_name"),
    ("description", "x" * 10_001, "description"),
    ("base_runtime", "vlm", "base_runtime"),
    ("base_runtime", "", "base_runtime"),
    ("deployment_mode", "cloud", "deployment_mode"),
    ("model__id_or_path", " ", "model-id_or_path"),
    ("model__namespace", "n" * 64, "model-namespace"),
    ("runtime_image", "image:tag", "runtime_image"),
    ("runtime_image_tag", "a\0b", "runtime_image_tag"),
    ("benchmark__model_name", "\0", "benchmark-model_name"),
    ("benchmark__model_tokenizer", "\0", "benchmark-model_tokenizer"),
    ("optimization__strategy", "clairvoyant", "optimization-strategy"),
    ("optimization__strategy", "random", "optimization-max_iterations"),
    ("optimization__objective", "fastest", "optimization-objective"),
    ("optimization__objective", "metric", "optimization-objective-metric"),
    ("optimization__max_iterations", "many", "optimization-max_iterations"),
    ("optimization__max_iterations", "0", "optimization-max_iterations"),
    ("optimization__max_iterations", "2.5", "optimization-max_iterations"),
    ("optimization__timeout_per_iteration", "-1", "optimization-timeout_per_iteration"),
    ("optimization__timeout_per_iteration", "1e400", "optimization-timeout_per_iteration"),
    ("optimization__seed", "9" * 30, "optimization-seed"),
    ("optimization__seed", "9" * 5000, "optimization-seed"),
    ("optimization__seed", "true", "optimization-seed"),
    ("benchmark__num_concurrency", "1, x", "benchmark-num_concurrency"),
    ("benchmark__num_concurrency", "1, 1", "benchmark-num_concurrency"),
    ("benchmark__num_concurrency", ",", "benchmark-num_concurrency"),
    ("benchmark__max_requests_per_iteration", "0", "benchmark-max_requests_per_iteration"),
    ("benchmark__max_time_per_iteration", "1.5", "benchmark-max_time_per_iteration"),
    ("benchmark__warmup", "-1", "benchmark-warmup"),
    ("benchmark__repeats", "1001", "benchmark-repeats"),
    ("benchmark__additional_params", "{", "benchmark-additional_params"),
    ("benchmark__additional_params", "[1]", "benchmark-additional_params"),
    ("benchmark__additional_params", '{"a": 1, "a": 2}', "benchmark-additional_params"),
    ("benchmark__additional_params", '{"a": NaN}', "benchmark-additional_params"),
    ("benchmark__additional_params", '{"a":' * 2000, "benchmark-additional_params"),
    ("parameters-name", ["threads", "--threads"], "parameters-7"),
    ("parameters-name", ["threads", "threads"], "parameters-7"),
    ("parameters-name", ["a b", "parallel"], "parameters-0"),
    ("parameters-name", ["", "parallel"], "parameters-0"),
    ("parameters-values", ["", "1"], "parameters-0"),
    ("parameters-values", ["1, 1", "1"], "parameters-0"),
    ("parameters-values", ["1", "9..1"], "parameters-7"),
    ("parameters-values", ["1", "1..9 step 0"], "parameters-7"),
    ("parameters-values", ["1", "0..9 log"], "parameters-7"),
    ("parameters-values", ["1", "0.1..0.9"], "parameters-7"),
    ("parameters-values", ["1", '"open'], "parameters-7"),
    ("parameters-values", ["1", "9" * 5000], "parameters-7"),
    ("parameters-values", ["1e400", "1"], "parameters-0"),
    ("constraints-text", ["threads <"], "constraints-0"),
    ("constraints-text", ["thread < 2"], "constraints-0"),
    ("constraints-text", ["__import__('os')"], "constraints-0"),
    ("scenarios-text", ["D(1)"], "scenarios-0"),
    ("slo-metric", ["ttft"], "slo-3"),
    ("slo-metric", [""], "slo-3"),
    ("slo-max", ["fast"], "slo-3"),
    ("slo-max", ["-1"], "slo-3"),
    ("slo-max", [""], "slo-3"),
    ("slo-min", ["9"], "slo-3"),
    ("slo-weight", ["x"], "slo-3"),
    ("slo-fail_ratio", ["-1"], "slo-3"),
    ("slo-steepness", ["0"], "slo-3"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "typed", "slot"), WRONG)
def test_wrong_input_is_told_at_its_field_and_stays(
    browser: Client, name: str, typed: Any, slot: str
) -> None:
    response = posted(browser, do="draft", **{name: typed})
    page = Page(response)

    assert response.status_code == 422
    assert page.errors.get(slot), page.errors
    assert f'href="#field-{slot}"' in page.text
    assert f"field-{slot}" in page.values
    assert not Task.objects.exists()
    for text in [typed] if isinstance(typed, str) else typed:
        assert escape(text.strip()) in page.text


@pytest.mark.parametrize(("name", "typed", "slot"), WRONG)
def test_the_preview_says_the_same_without_touching_an_input(
    browser: Client, name: str, typed: Any, slot: str
) -> None:
    page = Page(posted(browser, PREVIEW, **{name: typed}))
    assert page.errors.get(slot)
    assert not {"input", "select", "textarea"} & set(page.tags)
    assert page.text.count("hx-swap-oob") == sum(name.startswith("error-") for name in page.texts)


def test_a_flag_of_the_autotuners_own_is_told_at_its_row(browser: Client) -> None:
    typed = {"parameters-name": ["threads", "port"], "constraints-text": [""]}
    response = posted(browser, do="draft", **typed)
    assert response.status_code == 422
    assert "sets this flag" in Page(response).errors["parameters-7"]


def test_the_preview_of_a_good_task(browser: Client) -> None:
    page = Page(posted(browser, PREVIEW))
    assert not page.errors
    assert "Experiments</dt><dd>6</dd>" in page.text
    assert "--threads 2 --parallel 4" in page.texts["command-last"]
    assert "--threads" not in page.texts["command-first"]
    assert "error-parameters-7" in page.texts
    assert "cheaper" not in page.texts


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


@pytest.fixture
def draft(owner: User) -> Task:
    return actions.create(parse_task(minimal_task()), owner, start=False)


def test_a_draft_is_changed_and_started(browser: Client, draft: Task) -> None:
    address = reverse("task-edit", args=[draft.pk])
    page = Page(browser.get(address))
    assert page.values["field-parameters-0"] == "1, 2"
    assert f'action="{address}"' in page.text

    assert task_at(posted(browser, address, do="draft")) == draft
    draft.refresh_from_db()
    assert (draft.name, draft.state) == ("typed", TaskStatus.DRAFT)
    task_at(posted(browser, address, do="start", task_name="again"))
    draft.refresh_from_db()
    assert (draft.name, draft.state) == ("again", TaskStatus.PENDING)


def test_what_is_no_draft_offers_a_duplicate(browser: Client, draft: Task) -> None:
    address = reverse("task-edit", args=[draft.pk])
    actions.start(draft)
    for response in (browser.get(address), posted(browser, address, do="draft")):
        assert response.status_code == 409
        assert reverse("task-duplicate", args=[draft.pk]) in response.content.decode()
    draft.refresh_from_db()
    assert draft.name == "tune"


def test_a_draft_started_meanwhile_keeps_what_it_is_running(
    browser: Client, draft: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Task, "state", TaskStatus.DRAFT)
    Task.objects.filter(pk=draft.pk).update(status=TaskStatus.PENDING.value)
    response = posted(browser, reverse("task-edit", args=[draft.pk]), do="draft")
    assert response.status_code == 409
    draft.refresh_from_db()
    assert draft.name == "tune"


def test_a_wrong_change_of_a_draft_changes_nothing(browser: Client, draft: Task) -> None:
    address = reverse("task-edit", args=[draft.pk])
    assert posted(browser, address, do="draft", task_name="").status_code == 422
    draft.refresh_from_db()
    assert draft.name == "tune"


def test_drafts_of_others_are_not_there(
    draft: Task, stranger: User, browser_of: Callable[[User], Client]
) -> None:
    other = browser_of(stranger)
    address = reverse("task-edit", args=[draft.pk])
    assert other.get(address).status_code == 404
    assert posted(other, address, do="draft").status_code == 404
    draft.refresh_from_db()
    assert draft.name == "tune"


@pytest.mark.parametrize("address", [NEW, IMPORT, PREVIEW])
def test_nobody_is_here_without_signing_in(db: None, client: Client, address: str) -> None:
    response = client.post(address, {**FORM, "do": "draft"})
    assert response.status_code == 302
    assert response["Location"].startswith("/login/")
    assert not Task.objects.exists()


def file(text: str | bytes, name: str = "task.yaml") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("given", [
    {"file": file(yaml.safe_dump(minimal_task()))},
    {"file": file(json.dumps(minimal_task()), "anything.bin")},
    {"text": yaml.safe_dump(minimal_task())},
    {"text": "\n" + json.dumps(minimal_task())},
])  # fmt: skip
def test_an_import_fills_the_form_and_stores_nothing(
    browser: Client, given: dict[str, Any]
) -> None:
    if "file" in given:
        given["file"].seek(0)
    page = Page(browser.post(IMPORT, given))
    assert page.values["field-task_name"] == "tune"
    assert f'action="{NEW}"' in page.text
    assert not Task.objects.exists()


def test_an_import_with_mistakes_opens_as_json(browser: Client) -> None:
    page = Page(browser.post(IMPORT, {"text": "task_name: a\nbase_runtme: vllm\n"}))
    assert json.loads(page.texts["field-document"]) == {"task_name": "a", "base_runtme": "vllm"}
    assert "base_runtime" in page.text
    page = Page(browser.post(IMPORT, {"file": file('{"task_name": ')}))
    assert page.texts["field-document"].strip() == '{"task_name":'
    assert "line 1, column" in page.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Choose a file"),
        ({"text": "  "}, "Choose a file"),
        ({"text": "a: [1\nb: 2"}, "line 2, column 2"),
        ({"text": "a: &x [1]\nb: *x"}, "is an alias"),
        ({"text": "a: 2024-01-02"}, "is a date"),
        ({"file": file(b"\xff\xfe\x00")}, "not UTF-8"),
        ({"file": file("")}, "empty"),
        ({"file": file("x" * 1_000_001)}, "larger than"),
        ({"text": "- 1"}, "keys and values"),
    ],
)
def test_what_cannot_be_imported_says_why(
    browser: Client, given: dict[str, Any], message: str
) -> None:
    if "file" in given:
        given["file"].seek(0)
    response = browser.post(IMPORT, given)
    assert response.status_code == 422
    assert message in response.content.decode()
    assert browser.get(IMPORT).status_code == 200


def test_the_page_asks_the_database_little(
    browser: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(15):
        browser.get(NEW)
    with django_assert_max_num_queries(8):
        posted(browser, PREVIEW)
