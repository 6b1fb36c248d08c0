"""Filters of the page of tasks, and addresses that make no sense."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.seeding import Seeding
from tests.web.task_lists import chips, listed
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task

pytestmark = pytest.mark.django_db


def test_a_status_shows_its_tasks_alone(browser: Client, seeding: Seeding) -> None:
    failed = seeding.task(0, fate=TaskStatus.FAILED)
    seeding.task(1, fate=TaskStatus.COMPLETED)
    assert listed(browser, "?status=FAILED") == [failed]


def test_chips_count_what_passes_the_other_filters(browser: Client, seeding: Seeding) -> None:
    for index, fate in ((0, TaskStatus.DRAFT), (1, TaskStatus.DRAFT), (1, TaskStatus.PENDING)):
        seeding.task(index, fate=fate)
    counts = chips(browser, "?engine=vllm&status=PENDING")
    assert (counts["ALL"], counts["DRAFT"], counts["PENDING"]) == (2, 1, 1)
    assert counts["RUNNING"] == 0


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("?q=OFFLINE", "qwen"),
        ("?q=qwen/qwen2.5", "qwen"),
        ("?q=nightly", "llama"),
        ("?engine=sglang", "llama"),
        ("?mode=local", "smollm"),
        ("?q=l&mode=docker&engine=vllm", "qwen"),
        ("?owner=ada", None),
    ],
)
def test_each_filter_narrows(
    admin_client: Client, seeding: Seeding, query: str, wanted: str | None
) -> None:
    User.objects.create_user("ada")
    tasks = {name: seeding.task(i, fate=TaskStatus.DRAFT) for i, name in enumerate(NAMES)}
    Task.objects.filter(pk=tasks["llama"]).update(description="for the nightly report")
    # Somebody without tasks is no owner to choose, so that the last filter is ignored.
    assert listed(admin_client, query) == (
        [tasks[wanted]] if wanted else sorted(tasks.values(), reverse=True)
    )


NAMES = ("llama", "qwen", "smollm")


def test_a_number_finds_its_task(browser: Client, seeding: Seeding) -> None:
    first, second = (seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(2))
    Task.objects.filter(pk=second).update(name=f"more like #{first}")
    assert listed(browser, f"?q=%23{first}") == [first]
    assert listed(browser, "?q=%239999") == []
    assert first in listed(browser, f"?q={first}")


def test_owners_can_be_told_apart(admin_client: Client, seeding: Seeding, stranger: User) -> None:
    mine = seeding.task(0, fate=TaskStatus.DRAFT)
    theirs = Seeding(stranger).task(0, fate=TaskStatus.DRAFT)
    nobodys = Seeding(None).task(0, fate=TaskStatus.DRAFT)
    assert listed(admin_client, "?owner=owner") == [mine]
    assert listed(admin_client, "?owner=stranger") == [theirs]
    assert listed(admin_client, "?owner=~nobody") == [nobodys]


def test_both_days_of_a_span_belong_to_it(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(4)]
    for day, (task_id, hour) in enumerate(zip(ids, (23, 0, 23, 0), strict=True), start=1):
        moment = datetime(2024, 5, day, hour, 59 if hour else 0, 59 if hour else 0, tzinfo=UTC)
        Task.objects.filter(pk=task_id).update(created_at=moment)
    assert listed(browser, "?since=2024-05-02&until=2024-05-03") == [ids[2], ids[1]]


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ("?status=NONSENSE", "NONSENSE"),
        ("?engine=tgi&mode=moon", "moon"),
        ("?sort=-password", "-password"),
        ("?since=yesterday", "Created from"),
        ("?since=2024-02-30", "Created from"),
        ("?since=0001-01-01&until=9999-12-31", ""),
        ("?since=2024-06-02&until=2024-06-01", "No day is both"),
        (f"?q={'9' * 200}", ""),
        ("?q=%23" + "9" * 199, ""),
        (f"?q={'x' * 201}", "Search"),
        ("?q=%00", "Search"),
        ("?page=0", ""),
        ("?page=-1&status=", ""),
        ("?page=" + "9" * 5000, ""),
        ("?page=last&page=2&unknown=1", ""),
    ],
)
def test_an_address_that_makes_no_sense_is_explained_and_never_an_error(
    browser: Client, seeding: Seeding, query: str, note: str
) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    answer = browser.get(f"/tasks/{query}")
    assert answer.status_code == 200
    text = answer.content.decode()
    assert ("makes no sense" in text) == bool(note)
    assert note in text


def test_filters_without_a_match_can_be_cleared(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    text = browser.get("/tasks/?q=nothing-like-it").content.decode()
    assert "Clear the filters" in text
    assert "No tasks yet" not in text
