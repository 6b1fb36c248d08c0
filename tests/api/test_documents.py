"""`--json`, the live pages and the API say the same with the same words."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task
from tuning.realtime.task_document import TaskDocuments
from tuning.reports import as_document, task_report

pytestmark = pytest.mark.django_db


@pytest.fixture
def task(seeding: Seeding) -> Task:
    return Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=12))


def test_an_experiment_is_the_same_everywhere(api: Client, task: Task) -> None:
    live = TaskDocuments(task).read(task)["experiments"]
    listed = api.get(f"/api/experiments/task/{task.pk}").json()["items"]
    printed: list[dict[str, Any]] = as_document(task_report(task))["experiments"]
    assert live == listed
    assert len(printed) == len(listed) == 12
    for brief, full in zip(listed, printed, strict=True):
        assert api.get(f"/api/experiments/{brief['experiment_id']}").json() == full
        if full["failure"]:
            del full["failure"]["log_tail"]
        assert brief.items() <= full.items()


def test_a_task_is_the_same_everywhere(api: Client, task: Task) -> None:
    live = TaskDocuments(task).read(task)
    del live["experiments"]
    detail = api.get(f"/api/tasks/{task.pk}").json()
    assert live.items() <= detail.items()
    printed = as_document(task_report(task))
    assert printed["best_experiment"] == detail["progress"]["best"]["number"]
    assert printed["gain_over_baseline"] == detail["progress"]["gain_over_baseline"]


def test_times_are_utc(api: Client, task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(created_at="2026-01-31T13:00:00.123456+01:00")
    said = api.get(f"/api/tasks/{task.pk}").json()["created_at"]
    assert said == "2026-01-31T12:00:00.123456+00:00"
