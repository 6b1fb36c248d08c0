"""Tasks that start from earlier ones, over the API and as reports."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.api.conftest import send
from tests.past_tasks import document, past_task
from tuning.exports import ExportFormat, export_results
from tuning.models import Task
from tuning.orchestrator.advance import advance
from tuning.reports import as_document, task_report

pytestmark = pytest.mark.django_db


def made(api: Client, warm_start: Any) -> dict[str, Any]:
    answer = send(api, "POST", "/api/tasks/?start=true", document(warm_start))
    assert answer.status_code == 201, answer.content
    task: dict[str, Any] = answer.json()
    return task


def test_a_task_says_what_it_started_from(api: Client, owner: User) -> None:
    earlier = past_task(owner)
    task = made(api, True)
    assert task["warm_start"] is None, "not decided before it starts"
    advance(task["task_id"])
    detail = api.get(f"/api/tasks/{task['task_id']}").json()
    assert detail["warm_start"] == {
        "tasks": [{"task_id": earlier.pk, "similarity": 0.54, "experiments": list(range(1, 10))}],
        "text": f"Started from task {earlier.pk} (similarity 0.54).",
    }
    assert detail["spec"]["optimization"]["warm_start"] is True
    row = Task.objects.get(pk=task["task_id"])
    assert as_document(task_report(row))["warm_start"] == detail["warm_start"]
    assert f"task {earlier.pk} (similarity 0.54)" in str(
        export_results(row, ExportFormat.JSON).content
    )


def test_one_that_found_nothing_says_so(api: Client) -> None:
    task = made(api, True)
    advance(task["task_id"])
    said = api.get(f"/api/tasks/{task['task_id']}").json()["warm_start"]
    assert said["tasks"] == []
    assert "starts cold" in said["text"]


def test_a_cold_task_says_nothing(api: Client) -> None:
    task = made(api, False)
    advance(task["task_id"])
    assert api.get(f"/api/tasks/{task['task_id']}").json()["warm_start"] is None


def test_naming_what_one_may_not_see_is_refused(api: Client, stranger: User) -> None:
    secret = past_task(stranger)
    answer = send(api, "POST", "/api/tasks/?start=true", document([secret.pk]))
    assert answer.status_code == 422
    assert answer.json()["error"]["problems"] == [
        {
            "path": "optimization.warm_start[0]",
            "message": "is no task, or belongs to somebody else",
            "value": str(secret.pk),
        }
    ]
    draft = send(api, "POST", "/api/tasks/", document([secret.pk])).json()
    started = send(api, "POST", f"/api/tasks/{draft['task_id']}/start")
    assert started.status_code == 409
    assert "optimization.warm_start[0]: is no task" in started.json()["error"]["message"]
