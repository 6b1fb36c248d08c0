"""The page of a task: what it shows to whom, and what is done there."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from tests.seeding import Seeding
from tuning.actions import TaskAction, possible_actions
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.domain.parameters import Choices, Fixed, FloatRange, IntRange, Parameter
from tuning.domain.spec import parse_task
from tuning.models import Experiment, Task
from tuning.orchestrator.control import submit
from tuning.web.experiment_table import PAGE_SIZE
from tuning.web.task_page import EXPORTS, described

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true", "HX-Target": "head"}
Browser = Callable[[User], Client]


@pytest.fixture
def browser(owner: User, browser_of: Browser) -> Client:
    return browser_of(owner)


@pytest.fixture
def viewer(db: None) -> User:
    """May look at everybody's tasks, and change none of them."""
    user = User.objects.create_user("viewer", password="viewer-password")
    user.user_permissions.add(Permission.objects.get(codename="view_task"))
    return user


@pytest.fixture
def task_in(owner: User, task_document: dict[str, Any]) -> Callable[[TaskStatus], Task]:
    """A task of the owner in a state, without experiments."""

    def make(status: TaskStatus) -> Task:
        task = submit(parse_task(task_document), owner=owner)
        task.status = status.value
        if status.is_terminal:
            task.finished_at = timezone.now()
        task.save()
        return task

    return make


def page_of(client: Client, task_id: int, query: str = "", **headers: str) -> str:
    response = client.get(f"/tasks/{task_id}/{query}", headers=headers)
    assert response.status_code == 200
    page: str = response.content.decode()
    return page


def numbers_in(page: str) -> list[int]:
    """The experiments in the table, from top to bottom."""
    return [int(number) for number in re.findall(r'id="experiment-(\d+)"', page)]


def row_of(page: str, number: int) -> str:
    rows: list[str] = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    return next(row for row in rows if f'id="experiment-{number}"' in row)


# --- Who sees what ---


def test_the_owner_sees_the_task_and_a_stranger_does_not(
    seeding: Seeding, browser: Client, stranger: User, browser_of: Browser
) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED)
    assert "llama-3.1-8b chat latency" in page_of(browser, task_id)
    assert browser_of(stranger).get(f"/tasks/{task_id}/").status_code == 404


def test_a_viewer_sees_it_without_buttons_and_can_do_nothing(
    seeding: Seeding, viewer: User, browser_of: Browser
) -> None:
    task_id, client = seeding.task(fate=TaskStatus.RUNNING), browser_of(viewer)
    page = page_of(client, task_id)
    assert "of owner" in page
    assert "/actions/" not in page
    for action in TaskAction:
        assert client.post(f"/tasks/{task_id}/actions/{action}/").status_code == 403
    assert Task.objects.get(pk=task_id).cancel_requested_at is None


@pytest.mark.parametrize("status", list(TaskStatus))
def test_buttons_are_what_is_possible(
    status: TaskStatus, task_in: Callable[[TaskStatus], Task], browser: Client
) -> None:
    task = task_in(status) if status is not TaskStatus.COMPLETED else _completed(task_in)
    head = page_of(browser, task.pk, **HTMX)
    shown = set(re.findall(r'id="(?:do|ask)-(\w+)"', head))
    assert shown == {str(action) for action in possible_actions(task)}
    assert (f"/tasks/{task.pk}/edit/" in head) == (status is TaskStatus.DRAFT)


def _completed(task_in: Callable[[TaskStatus], Task]) -> Task:
    """A completed task has a best experiment, says the database."""
    task = task_in(TaskStatus.RUNNING)
    best = Experiment.objects.create(
        task=task,
        number=0,
        purpose="baseline",
        configuration_hash="a",
        status=ExperimentStatus.SUCCESS.value,
        objective_value=1.0,
        score=1.0,
        finished_at=timezone.now(),
    )
    task.status, task.finished_at, task.best_experiment = "COMPLETED", timezone.now(), best
    task.save()
    return task


# --- What is done ---

DONE = [
    (TaskStatus.DRAFT, TaskAction.START, TaskStatus.PENDING),
    (TaskStatus.RUNNING, TaskAction.PAUSE, TaskStatus.PAUSED),
    (TaskStatus.PAUSED, TaskAction.RESUME, TaskStatus.RUNNING),
    (TaskStatus.CANCELLED, TaskAction.RESUME, TaskStatus.RUNNING),
]
REFUSED = [
    (TaskStatus.RUNNING, TaskAction.START),
    (TaskStatus.DRAFT, TaskAction.PAUSE),
    (TaskStatus.FAILED, TaskAction.CANCEL),
    (TaskStatus.RUNNING, TaskAction.DELETE),
]


@pytest.mark.parametrize(("before", "action", "after"), DONE)
def test_an_action_answers_with_the_new_head(
    before: TaskStatus,
    action: TaskAction,
    after: TaskStatus,
    task_in: Callable[[TaskStatus], Task],
    browser: Client,
) -> None:
    task = task_in(before)
    response = browser.post(f"/tasks/{task.pk}/actions/{action}/", headers=HTMX)
    assert response.status_code == 200
    head = response.content.decode()
    assert head.strip().startswith('<div id="head"')
    assert f"badge-{after}" in head
    toast = json.loads(response["HX-Trigger"])["toast"]
    assert toast["kind"] == "success"
    assert str(task.pk) in toast["text"]
    task.refresh_from_db()
    assert task.state is after


def test_cancelling_says_so_until_it_has_happened(
    task_in: Callable[[TaskStatus], Task], browser: Client
) -> None:
    task = task_in(TaskStatus.RUNNING)
    head = browser.post(f"/tasks/{task.pk}/actions/cancel/", headers=HTMX).content.decode()
    assert "Being cancelled" in head
    assert 'id="ask-cancel"' not in head


def test_an_action_from_a_plain_form_leads_back_to_the_page(
    task_in: Callable[[TaskStatus], Task], browser: Client
) -> None:
    task = task_in(TaskStatus.RUNNING)
    response = browser.post(f"/tasks/{task.pk}/actions/pause/")
    assert (response.status_code, response["Location"]) == (303, f"/tasks/{task.pk}/")
    assert "is paused once" in page_of(browser, task.pk)


@pytest.mark.parametrize("headers", [HTMX, {}])
def test_deleting_leads_to_the_list(
    headers: dict[str, str], task_in: Callable[[TaskStatus], Task], browser: Client
) -> None:
    task = task_in(TaskStatus.FAILED)
    response = browser.post(f"/tasks/{task.pk}/actions/delete/", headers=headers)
    assert response.get("HX-Redirect", response.get("Location")) == "/tasks/"
    assert not Task.objects.filter(pk=task.pk).exists()


@pytest.mark.parametrize(("status", "action"), REFUSED)
def test_what_is_impossible_is_refused_with_a_reason(
    status: TaskStatus, action: TaskAction, task_in: Callable[[TaskStatus], Task], browser: Client
) -> None:
    task = task_in(status)
    response = browser.post(f"/tasks/{task.pk}/actions/{action}/", headers=HTMX)
    assert response.status_code == 409
    assert f"is {status}" in response["X-Problem"]
    plain = browser.post(f"/tasks/{task.pk}/actions/{action}/")
    assert (plain.status_code, plain["Location"]) == (303, f"/tasks/{task.pk}/")
    assert response["X-Problem"] in page_of(browser, task.pk)
    task.refresh_from_db()
    assert task.state is status


def test_unknown_actions_deleted_tasks_and_reading_methods(
    task_in: Callable[[TaskStatus], Task],
    browser: Client,
    stranger: User,
    browser_of: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_in(TaskStatus.RUNNING)
    assert browser.post(f"/tasks/{task.pk}/actions/explode/").status_code == 404
    assert browser.get(f"/tasks/{task.pk}/actions/pause/").status_code == 405
    assert browser_of(stranger).post(f"/tasks/{task.pk}/actions/pause/").status_code == 404

    def delete_first(pk: int) -> bool:
        Task.objects.filter(pk=pk).delete()
        return False

    monkeypatch.setattr("tuning.orchestrator.control.pause", delete_first)
    response = browser.post(f"/tasks/{task.pk}/actions/pause/", headers=HTMX)
    assert response.status_code == 404
    assert "deleted meanwhile" in response["X-Problem"]


def test_forms_need_the_token(task_in: Callable[[TaskStatus], Task], owner: User) -> None:
    task, client = task_in(TaskStatus.RUNNING), Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(f"/tasks/{task.pk}/actions/pause/").status_code == 403


def test_a_viewer_duplicates_a_task_as_an_own_draft(
    seeding: Seeding, viewer: User, browser_of: Browser
) -> None:
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED))
    client = browser_of(viewer)
    response = client.post(f"/tasks/{task.pk}/duplicate/")
    copy = Task.objects.get(owner=viewer)
    assert (response.status_code, response["Location"]) == (303, f"/tasks/{copy.pk}/edit/")
    assert copy.state is TaskStatus.DRAFT
    assert copy.spec == {**task.spec, "task_name": copy.name}
    assert client.get(f"/tasks/{task.pk}/duplicate/").status_code == 405


def test_nobody_duplicates_what_they_may_not_see(
    seeding: Seeding, stranger: User, browser_of: Browser
) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED)
    assert browser_of(stranger).post(f"/tasks/{task_id}/duplicate/").status_code == 404
    assert not Task.objects.filter(owner=stranger).exists()


# --- Head and best ---


def test_a_running_task_shows_progress_and_what_runs(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(experiments=8, fate=TaskStatus.RUNNING)
    running = Experiment.objects.get(task=task_id, status="BENCHMARKING")
    head = page_of(browser, task_id, **HTMX)
    assert '<progress value="7" max="14"' in head
    assert "7 of 14 experiments" in head
    assert f'href="/experiments/{running.pk}/">Experiment 7</a>' in head
    assert re.search(r'<running-clock seconds="\d+" step="-1">', head)


def test_a_paused_task_has_no_time_to_go(seeding: Seeding, browser: Client) -> None:
    head = page_of(browser, seeding.task(fate=TaskStatus.PAUSED), **HTMX)
    assert "to go" not in head


def test_the_best_comes_with_its_gain_verdicts_and_metrics(
    seeding: Seeding, browser: Client
) -> None:
    task = Task.objects.get(pk=seeding.task(experiments=8, fate=TaskStatus.COMPLETED))
    best = task.best_experiment
    assert best is not None
    baseline = task.experiments.get(number=0)
    assert best.objective_value is not None
    assert baseline.objective_value is not None
    page = page_of(browser, task.pk)
    section = page[page.index('<section id="best"') : page.index('<section id="experiments"')]
    gain = (baseline.objective_value - best.objective_value) / baseline.objective_value
    assert f"{gain * 100:+.0f} %" in section
    assert f'href="/experiments/{best.pk}/"' in section
    assert section.count("✓ met") == 3
    assert "D(512,128), concurrency" in section
    for label in ("TTFT p50", "TPOT p50", "E2E latency p99", "output throughput"):
        assert label in section
    assert f"<dt>chunked-prefill-size</dt><dd>{best.parameters['chunked-prefill-size']}" in section
    assert 'class="is-best"' in row_of(page, best.number)
    assert 'class="is-baseline"' in row_of(page, 0)


def test_a_task_without_a_baseline_has_a_best_and_no_gain(
    seeding: Seeding, browser: Client
) -> None:
    task_id = seeding.task(index=2, experiments=5, fate=TaskStatus.RUNNING)
    Experiment.objects.filter(task=task_id, number=0).delete()
    page = page_of(browser, task_id)
    assert "the gain is not known" in page
    assert 'class="is-best"' in page
    assert 'class="is-baseline"' not in page


def test_the_baseline_may_be_the_best(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(experiments=4, fate=TaskStatus.RUNNING)
    Experiment.objects.filter(task=task_id, number=0).update(score=1e-6)
    page = page_of(browser, task_id)
    assert "No other configuration is better" in page
    assert 'class="is-best"' in row_of(page, 0)


def test_a_failed_task_says_why(seeding: Seeding, browser: Client) -> None:
    page = page_of(browser, seeding.task(fate=TaskStatus.FAILED))
    assert "Every configuration failed" in page
    assert "No best configuration" in page
    hint = Failure(FailureKind.OUT_OF_MEMORY, "").hint
    assert page.count(f'title="{hint}">Out of memory') == 8
    assert f"<dt>Out of memory</dt><dd>{hint}</dd>" in page


def test_a_draft_says_what_it_would_do(
    task_in: Callable[[TaskStatus], Task], browser: Client
) -> None:
    page = page_of(browser, task_in(TaskStatus.DRAFT).pk)
    assert "This is a draft" in page
    assert "it will measure 5 configurations" in page
    assert "1 load point each" in page
    assert "A draft has no experiments." in page
    assert 'hx-trigger="load' not in page


# --- The table ---

NONSENSE = [
    "?sort=ttft_p50_s",
    "?sort=score",
    "?sort=task__owner__password",
    "?sort=flag.no-such-flag",
    "?sort=--number",
    "?sort=",
    "?status=EXPLODED",
    "?status=PRUNED",
    "?page=0",
    "?page=-1",
    "?page=x",
    "?page=99999999999999999999",
    "?page=%00&status=%00&sort=%00",
]


@pytest.fixture
def task_with_40(seeding: Seeding) -> Task:
    return Task.objects.get(pk=seeding.task(index=2, experiments=40, fate=TaskStatus.COMPLETED))


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("number", lambda one: one.number),
        ("-number", lambda one: -one.number),
        ("objective", lambda one: math.inf if one.objective_value is None else one.objective_value),
        ("duration", lambda one: one.duration_s),
        ("status", lambda one: one.status),
        ("flag.threads", lambda one: one.parameters.get("threads", 1e9)),
        ("-flag.parallel", lambda one: -one.parameters.get("parallel", -1e9)),
        ("flag.flash-attn", lambda one: one.parameters.get("flash-attn", "~")),
    ],
)
def test_sorting(
    sort: str, key: Callable[[Experiment], Any], task_with_40: Task, browser: Client
) -> None:
    expected = sorted(task_with_40.experiments.all(), key=lambda one: (key(one), one.number))
    page = page_of(browser, task_with_40.pk, f"?sort={sort}")
    assert numbers_in(page) == [one.number for one in expected]
    assert page.count("aria-sort=") == 1


def test_a_soft_slo_makes_the_score_a_column(seeding: Seeding, browser: Client) -> None:
    task = Task.objects.get(pk=seeding.task(experiments=12, fate=TaskStatus.COMPLETED))
    expected = task.experiments.order_by("-score", "number").values_list("number", flat=True)
    page = page_of(browser, task.pk, "?sort=-score")
    assert numbers_in(page) == list(expected)
    assert page.count("aria-sort=") == 1


def test_what_has_no_value_comes_last_either_way(task_with_40: Task, browser: Client) -> None:
    pending = task_with_40.experiments.filter(number__in=[3, 4])
    pending.update(
        status="PENDING", objective_value=None, score=None, finished_at=None, failure_kind=""
    )
    for sort, field in (("objective", "objective_value"), ("duration", "finished_at")):
        without = task_with_40.experiments.filter(**{f"{field}__isnull": True})
        last = sorted(one.number for one in without)
        assert {3, 4} <= set(last)
        for order in (sort, f"-{sort}"):
            page = page_of(browser, task_with_40.pk, f"?sort={order}")
            assert numbers_in(page)[-len(last) :] == last


def test_a_click_on_the_objective_brings_the_best_first(
    task_with_40: Task, browser: Client
) -> None:
    page = page_of(browser, task_with_40.pk)
    link = re.search(r'id="sort-objective" href="([^"]+)"', page)
    assert link is not None
    assert "sort=-objective" in link[1]
    assert task_with_40.best_experiment is not None
    sorted_page = browser.get(link[1]).content.decode()
    assert numbers_in(sorted_page)[0] == task_with_40.best_experiment.number
    assert f'id="sort-objective" href="/tasks/{task_with_40.pk}/?sort=objective"' in sorted_page


def test_filtering_by_status_counts_all(task_with_40: Task, browser: Client) -> None:
    failed = list(task_with_40.experiments.filter(status="FAILED").values_list("number", flat=True))
    assert failed
    page = page_of(browser, task_with_40.pk, "?status=FAILED&sort=-number")
    assert numbers_in(page) == sorted(failed, reverse=True)
    assert f"Failed <strong>{len(failed)}</strong>" in page
    assert "All <strong>40</strong>" in page


def test_nonsense_in_the_address_counts_as_not_asked(task_with_40: Task, browser: Client) -> None:
    for query in NONSENSE:
        assert numbers_in(page_of(browser, task_with_40.pk, query)) == list(range(40)), query


def test_pages_hold_a_hundred_and_are_sorted_over_all(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(index=2, experiments=230, fate=TaskStatus.COMPLETED)
    first = page_of(browser, task_id, "?sort=-number")
    assert numbers_in(first) == list(range(229, 229 - PAGE_SIZE, -1))
    assert "1–100 of 230" in first
    assert f'href="/tasks/{task_id}/?sort=-number&amp;page=3"' in first
    assert numbers_in(page_of(browser, task_id, "?sort=-number&page=3")) == list(range(29, -1, -1))


def test_columns_are_what_varies_and_what_was_measured(task_with_40: Task, browser: Client) -> None:
    page = page_of(browser, task_with_40.pk)
    headings = re.findall(r"<th scope=\"col\"[^>]*>\s*(?:<a [^>]*>)?([^<\n]+)", page)
    start = headings.index("#")
    assert headings[start : start + 12] == [
        "#",
        "Status",
        "threads",
        "parallel",
        "flash-attn",
        "Output throughput",
        "TTFT p50",
        "TPOT p50",
        "E2E latency p99",
        "SLOs",
        "Failure",
        "Time",
    ]


def test_broken_slos_are_named_in_the_row(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(experiments=3, fate=TaskStatus.RUNNING)
    experiment = Experiment.objects.get(task=task_id, number=1)
    experiment.slo_verdicts[0]["is_met"] = False
    experiment.save()
    page = page_of(browser, task_id)
    assert "✗ TTFT p99" in row_of(page, 1)


# --- Fragments and cost ---


@pytest.mark.parametrize(
    ("target", "has", "has_not"),
    [
        ("head", ['id="head"'], ['id="best"', "experiment-rows", "<html"]),
        ("experiments", ["experiment-rows", 'id="live"'], ['id="head"', 'id="best"', "<html"]),
        ("live", ['id="head"', 'id="best"', "experiment-rows"], ["task-file", "<html"]),
        ("content", ["<html"], []),
    ],
)
def test_fragments(
    target: str, has: list[str], has_not: list[str], seeding: Seeding, browser: Client
) -> None:
    task_id = seeding.task(fate=TaskStatus.RUNNING)
    answer = page_of(browser, task_id, **{"HX-Request": "true", "HX-Target": target})
    assert [part for part in has if part not in answer] == []
    assert [part for part in has_not if part in answer] == []


def test_every_part_that_a_live_update_swaps_is_on_the_page_once(
    seeding: Seeding, browser: Client
) -> None:
    page = page_of(browser, seeding.task(fate=TaskStatus.RUNNING), "?sort=-number")
    swapped = re.search(r'hx-select-oob="([^"]+)"', page)
    assert swapped is not None
    for part in swapped[1].split(","):
        assert page.count(f'id="{part.strip("#")}"') == 1
    assert 'hx-get="/tasks/' in page
    assert "?sort=-number" in page[page.index('id="live"') :][:200]


def test_the_page_offers_every_export_and_the_task_file(seeding: Seeding, browser: Client) -> None:
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED))
    page = page_of(browser, task.pk)
    for kind, _ in EXPORTS:
        assert f'href="/tasks/{task.pk}/export/{kind}/"' in page
    assert "&quot;task_name&quot;: &quot;llama-3.1-8b chat latency 1&quot;" in page
    assert f'hx-get="/tasks/{task.pk}/charts/"' in page
    assert f'hx-get="/tasks/{task.pk}/winner/"' in page


def test_what_a_user_wrote_is_text(
    owner: User, task_document: dict[str, Any], browser: Client
) -> None:
    evil = "<script>alert(1)</script>"
    spec = parse_task({**task_document, "task_name": evil, "description": evil})
    page = page_of(browser, submit(spec, owner=owner).pk)
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("experiments", [6, 130])
def test_the_number_of_queries_does_not_grow(
    experiments: int,
    seeding: Seeding,
    viewer: User,
    browser_of: Browser,
    django_assert_max_num_queries: Any,
) -> None:
    task_id = seeding.task(index=2, experiments=experiments, fate=TaskStatus.RUNNING)
    client = browser_of(viewer)
    with django_assert_max_num_queries(15):
        page_of(client, task_id)
    with django_assert_max_num_queries(10):
        page_of(client, task_id, **HTMX)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        (Fixed(True), "on"),
        (Choices((1, 2.5, "lpm", False)), "1, 2.5, lpm, off"),
        (IntRange(1, 8), "1 to 8"),
        (IntRange(2048, 16384, 2048), "2048 to 16384 in steps of 2048"),
        (IntRange(32, 512, log=True), "32 to 512, doubling"),
        (
            IntRange(1, 1_000_000, 3, log=True),
            "1 to 1000000 in steps of 3, small values more often",
        ),
        (FloatRange(0.8, 0.95, 0.01), "0.8 to 0.95 in steps of 0.01"),
        (FloatRange(1e-05, 1.0, log=True), "1e-05 to 1.0, small values more often"),
    ],
)
def test_parameters_in_words(parameter: Parameter, words: str) -> None:
    assert described(parameter) == words
