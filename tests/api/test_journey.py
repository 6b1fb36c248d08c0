"""From an idea to its results, as a program does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.api.conftest import send
from tests.orchestrator.recording import run_next
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task
from tuning.orchestrator.advance import advance

pytestmark = pytest.mark.django_db


def test_a_draft_is_changed_started_paused_resumed_cancelled_and_deleted(
    api: Client, owner: User, task_document: dict[str, Any]
) -> None:
    made = send(api, "POST", "/api/tasks/", task_document)
    assert (made.status_code, made.json()["status"]) == (201, "DRAFT")
    address = made["Location"]
    assert address == f"/api/tasks/{made.json()['task_id']}"
    assert Task.objects.get().owner == owner

    task_document["task_name"] = "smaller"
    changed = send(api, "PUT", address, task_document)
    assert (changed.status_code, changed.json()["name"]) == (200, "smaller")
    assert changed.json()["spec"]["task_name"] == "smaller"

    assert send(api, "POST", f"{address}/start").json()["status"] == "PENDING"
    task = Task.objects.get()
    run_next(task, 10.0)
    assert send(api, "POST", f"{address}/pause").json()["status"] == "PAUSED"
    assert send(api, "POST", f"{address}/resume").json()["status"] == "RUNNING"
    cancelled = send(api, "POST", f"{address}/cancel").json()
    assert (cancelled["cancel_requested"], cancelled["progress"]["finished"]) == (True, 1)
    advance(task.pk)
    assert api.get(address).json()["status"] == "CANCELLED"
    gone = send(api, "DELETE", address)
    assert (gone.status_code, gone.content) == (204, b"")
    assert api.get(address).status_code == 404


def test_a_task_may_be_started_at_once(api: Client, task_document: dict[str, Any]) -> None:
    made = send(api, "POST", "/api/tasks/?start=true", task_document)
    assert made.json()["status"] == "PENDING"
    assert Task.objects.for_workers().count() == 1


def test_a_duplicate_belongs_to_whoever_asked_for_it(
    api_of: Callable[[User], Client], admin_user: User, seeding: Seeding
) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED)
    made = send(api_of(admin_user), "POST", f"/api/tasks/{task_id}/duplicate")
    assert made.status_code == 201
    copy = Task.objects.get(pk=made.json()["task_id"])
    assert (copy.owner, copy.state, copy.name[-7:]) == (admin_user, TaskStatus.DRAFT, " (copy)")


def test_a_browser_does_the_same_with_its_csrf_token(
    owner: User, task_document: dict[str, Any]
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    refused = send(browser, "POST", "/api/tasks/", task_document)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "csrf_failed")
    assert not Task.objects.exists()
    browser.get("/api/docs")
    token = browser.cookies["csrftoken"].value
    made = browser.post(
        "/api/tasks/",
        data=task_document,
        content_type="application/json",
        headers={"X-CSRFToken": token},
    )
    assert made.status_code == 201
    assert browser.get("/api/tasks/").json()["total"] == 1


def test_a_preview_says_what_is_wrong_and_stores_nothing(
    api: Client, task_document: dict[str, Any]
) -> None:
    assert send(api, "POST", "/api/tasks/preview", task_document).json()["problems"] == []
    task_document["parameters"]["threads"] = [1, 1]
    (problem,) = send(api, "POST", "/api/tasks/preview", task_document).json()["problems"]
    assert problem["path"] == "parameters.threads[1]"
    assert not Task.objects.exists()


@pytest.mark.parametrize("form", ["json", "csv", "yaml", "html"])
def test_results_come_as_a_file(api: Client, seeding: Seeding, form: str) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED)
    answer = api.get(f"/api/tasks/{task_id}/export?format={form}")
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith("attachment; filename=")
    document = api.get("/api/openapi.json").json()
    operation = document["paths"]["/api/tasks/{task_id}/export"]["get"]
    assert answer["Content-Type"].partition(";")[0] in operation["responses"]["200"]["content"]
