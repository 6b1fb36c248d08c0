"""Lists of tasks and experiments: what is in them, in which order, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task

pytestmark = pytest.mark.django_db

CEILING = 15
"""Queries of one request, with those of the sign-in."""


def ids(api: Client, query: str) -> list[int]:
    answer = api.get(f"/api/tasks/?{query}")
    assert answer.status_code == 200, answer.content
    return [one["task_id"] for one in answer.json()["items"]]


def test_filters_narrow_the_list(api: Client, seeding: Seeding, admin_user: User) -> None:
    chat = seeding.task(0, fate=TaskStatus.COMPLETED)
    offline = seeding.task(1, fate=TaskStatus.RUNNING)
    local = seeding.task(2, fate=TaskStatus.DRAFT)
    Seeding(admin_user).task(0)
    assert ids(api, "") == [local, offline, chat]
    assert ids(api, "status=COMPLETED&status=DRAFT") == [local, chat]
    assert ids(api, "engine=vllm") == [offline]
    assert ids(api, "mode=docker") == [offline, chat]
    assert ids(api, "owner=owner&q=smollm") == [local]
    assert ids(api, "owner=admin") == []
    assert ids(api, f"q=%23{chat}") == [chat]
    assert ids(api, "engine=vllm&mode=local") == []


def test_time_is_a_half_open_range_in_any_zone(api: Client, seeding: Seeding) -> None:
    task = Task.objects.get(pk=seeding.task())
    moment = task.created_at
    at = [(moment + timedelta(seconds=s)).isoformat().replace("+00:00", "Z") for s in (-1, 0, 1)]
    assert ids(api, f"created_from={at[1]}&created_to={at[2]}") == [task.pk]
    assert ids(api, f"created_from={at[0]}&created_to={at[1]}") == []
    assert ids(api, f"created_from={at[2]}") == []
    assert ids(api, f"created_from={moment.date()}") == [task.pk]
    assert ids(api, "created_from=0001-01-01T00:00:00%2B23:59") == [task.pk]
    assert ids(api, "created_to=9999-12-31T23:59:59-23:59") == [task.pk]


def test_order_and_pages(api: Client, seeding: Seeding) -> None:
    made = [seeding.task(index, age=3 - index) for index in range(3)]
    Task.objects.filter(pk=made[0]).update(started_at=None)
    assert ids(api, "sort=created_at") == made
    assert ids(api, "sort=-name") == [made[2], made[1], made[0]]
    assert ids(api, "sort=started_at")[-1] == ids(api, "sort=-started_at")[-1] == made[0]
    assert ids(api, "sort=created_at&page=2&page_size=2") == [made[2]]
    beyond = api.get("/api/tasks/?page=9&page_size=2").json()
    assert beyond == {"items": [], "total": 3, "page": 9, "page_size": 2}


def test_a_list_says_of_a_task_what_the_task_says_of_itself(
    api: Client, seeding: Seeding, make_task: Callable[..., Task], owner: User
) -> None:
    for index, fate in enumerate(TaskStatus):
        seeding.task(index, fate=fate)
    Task.objects.filter(pk=make_task().pk).update(owner=owner)
    items: list[dict[str, Any]] = api.get("/api/tasks/").json()["items"]
    assert len(items) == len(TaskStatus) + 1
    for item in items:
        detail = api.get(f"/api/tasks/{item['task_id']}").json()
        progress = item.pop("progress")
        assert item.items() <= detail.items()
        assert progress.items() <= detail["progress"].items()
    assert any(item["owner"] == "owner" for item in items)


def test_experiments_come_in_pages_and_alone_with_everything(api: Client, seeding: Seeding) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=5)
    page = api.get(f"/api/experiments/task/{task_id}?page_size=2&page=2").json()
    assert ([one["number"] for one in page["items"]], page["total"]) == ([2, 3], 5)
    brief = page["items"][0]
    detail = api.get(f"/api/experiments/{brief['experiment_id']}").json()
    assert (detail["number"], detail["parameters"]) == (2, brief["parameters"])
    assert detail["command"][0] == "python"
    assert detail["environment"]["gpu"] == "8 x H100 80GB"
    (baseline,) = api.get(f"/api/experiments/task/{task_id}?page_size=1").json()["items"]
    full = api.get(f"/api/experiments/{baseline['experiment_id']}").json()
    measured = {(one["scenario"], one["concurrency"]) for one in full["measurements"]}
    assert ("D(512,128)", 16) in measured


def test_a_failed_experiment_says_why(api: Client, seeding: Seeding) -> None:
    task_id = seeding.task(fate=TaskStatus.FAILED, experiments=3)
    brief = api.get(f"/api/experiments/task/{task_id}").json()["items"][1]
    detail = api.get(f"/api/experiments/{brief['experiment_id']}").json()
    assert detail["failure"].pop("log_tail") is not None
    assert detail["failure"] == brief["failure"]
    assert (brief["failure"]["kind"], bool(brief["failure"]["hint"])) == ("out_of_memory", True)


def test_the_number_of_queries_does_not_grow(
    api: Client, seeding: Seeding, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    task_ids = seeding.tasks(24, 5)
    experiment = api.get(f"/api/experiments/task/{task_ids[0]}").json()["items"][1]
    for path in (
        "/api/tasks/",
        f"/api/tasks/{task_ids[0]}",
        f"/api/experiments/task/{task_ids[0]}",
        f"/api/experiments/{experiment['experiment_id']}",
        f"/api/tasks/{task_ids[0]}/logs",
    ):
        with django_assert_max_num_queries(CEILING):
            assert api.get(path).status_code == 200
