"""Acting on several tasks of the page of tasks at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.seeding import Seeding
from tests.web.task_lists import FRAGMENT, BrowserOf
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task

pytestmark = pytest.mark.django_db


def act(browser: Client, action: str, *ids: int | str, **fields: str) -> str:
    answer = browser.post(f"/tasks/bulk/{action}/", {"task": list(ids), **fields})
    assert answer.status_code == 200
    return answer.content.decode()


def test_cancel_reports_each_task(
    browser_of: BrowserOf, owner: User, stranger: User, seeding: Seeding
) -> None:
    waiting = seeding.task(0, fate=TaskStatus.PENDING)
    ended = seeding.task(1, fate=TaskStatus.COMPLETED)
    others = Seeding(stranger).task(0, fate=TaskStatus.PENDING)
    text = act(browser_of(owner), "cancel", waiting, ended, others, 987654)
    assert f"Task {waiting} is being cancelled" in text
    assert f"Task {ended} is COMPLETED" in text
    assert f"There is no task {others}, or it belongs to somebody else." in text
    assert "There is no task 987654" in text
    asked = set(Task.objects.filter(cancel_requested_at__isnull=False).values_list("pk", flat=True))
    assert asked == {waiting}


def test_who_may_only_look_is_refused(
    browser_of: BrowserOf, stranger: User, seeding: Seeding
) -> None:
    task_id = seeding.task(0, fate=TaskStatus.PENDING)
    stranger.user_permissions.add(Permission.objects.get(codename="view_task"))
    text = act(browser_of(stranger), "cancel", task_id)
    assert f"Task {task_id} belongs to somebody else: you may only look at it." in text
    assert Task.objects.get(pk=task_id).cancel_requested_at is None


def test_delete_asks_first_and_says_what_would_stay(browser: Client, seeding: Seeding) -> None:
    ended = seeding.task(0, fate=TaskStatus.FAILED)
    running = seeding.task(1, fate=TaskStatus.RUNNING)
    text = act(browser, "delete", ended, running)
    dialog = text.split('<dialog id="confirm-delete"')[1]
    assert "Delete 1 task?" in dialog
    assert f'name="task" value="{ended}"' in dialog
    assert f"Task {running} is RUNNING: cancel it first." in dialog
    assert f'name="task" value="{running}"' not in dialog
    assert Task.objects.count() == 2


def test_a_confirmed_delete_deletes_what_it_may(browser: Client, seeding: Seeding) -> None:
    ended = seeding.task(0, fate=TaskStatus.FAILED)
    draft = seeding.task(0, fate=TaskStatus.DRAFT)
    running = seeding.task(1, fate=TaskStatus.RUNNING)
    text = act(browser, "delete", ended, draft, running, confirmed="yes")
    assert f"Task {ended} is deleted" in text
    assert f"Task {running} is RUNNING: cancel it first." in text
    assert [task.pk for task in Task.objects.all()] == [running]


def test_the_question_is_a_fragment_of_its_own(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    headers = {"HX-Request": "true", "HX-Target": "confirm-delete"}
    answer = browser.post("/tasks/bulk/delete/", {"task": task_id}, headers=headers)
    assert answer.content.decode().strip().startswith('<dialog id="confirm-delete"')


def test_a_report_keeps_the_filters_and_unticks(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.PENDING)
    seeding.task(1, fate=TaskStatus.PENDING)
    answer = browser.post(
        "/tasks/bulk/cancel/", {"task": task_id, "query": "engine=sglang"}, headers=FRAGMENT
    )
    text = answer.content.decode()
    assert re.findall(r'id="tick-(\d+)"', text) == [str(task_id)]
    assert "hx-preserve" not in text
    assert "hx-preserve" in browser.get("/tasks/").content.decode()


@pytest.mark.parametrize("action", ["cancel", "delete", "compare"])
@pytest.mark.parametrize("ids", [[], ["x"], ["-1"], ["9" * 5000], [""]])
def test_nothing_ticked_is_no_error(browser: Client, action: str, ids: list[str]) -> None:
    assert "Refused" in act(browser, action, *ids)


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_or_too_many_to_compare(browser: Client, count: int) -> None:
    text = act(browser, "compare", *range(1, count + 1))
    assert f"Tick 2 to 6 tasks to compare them; you ticked {count}." in text


def test_compare_leads_to_its_page(browser: Client) -> None:
    data = {"task": ["3", "1", "3"]}
    answer = browser.post("/tasks/bulk/compare/", data)
    assert answer["Location"] == "/compare/?task=3&task=1"
    answer = browser.post("/tasks/bulk/compare/", data, headers=FRAGMENT)
    assert answer["HX-Redirect"] == "/compare/?task=3&task=1"


def test_only_what_is_offered_can_be_done(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    assert browser.post("/tasks/bulk/start/", {"task": task_id}).status_code == 404
    assert browser.get("/tasks/bulk/cancel/").status_code == 405
    assert Task.objects.get(pk=task_id).state is TaskStatus.DRAFT


def test_a_cancelled_task_says_so_until_it_ends(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.RUNNING)
    act(browser, "cancel", task_id)
    row = browser.get("/tasks/").content.decode().split('id="task-rows"')[1]
    assert ">cancelling<" in row
    ended = seeding.task(1, fate=TaskStatus.COMPLETED)
    finished = datetime.now(UTC) - timedelta(hours=1)
    Task.objects.filter(pk=ended).update(cancel_requested_at=finished)
    assert browser.get("/tasks/?status=COMPLETED").content.decode().count(">cancelling<") == 0
