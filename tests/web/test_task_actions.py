"""What may be done to a task on its page, and by whom."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.seeding import Seeding
from tests.web.task_pages import page_of
from tuning.actions import TaskAction, possible_actions
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.models import Experiment, Task

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true", "HX-Target": "head"}
Browser = Callable[[User], Client]


@pytest.fixture
def browser(owner: User, browser_of: Browser) -> Client:
    return browser_of(owner)


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
