"""Order and pages of the page of tasks."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.seeding import Seeding
from tests.web.task_lists import listed
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task
from tuning.task_rows import read_rows

pytestmark = pytest.mark.django_db


def test_the_newest_comes_first(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(3)]
    assert listed(browser) == ids[::-1]
    assert listed(browser, "?sort=id") == ids


def test_names_are_sorted_as_people_do(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(3)]
    for task_id, name in zip(ids, ("beta", "Alpha", "Gamma"), strict=True):
        Task.objects.filter(pk=task_id).update(name=name)
    assert listed(browser, "?sort=name") == [ids[1], ids[0], ids[2]]


def test_statuses_are_sorted_by_how_much_they_ask_for(browser: Client, seeding: Seeding) -> None:
    done, running, draft = (
        seeding.task(0, fate=fate)
        for fate in (TaskStatus.COMPLETED, TaskStatus.RUNNING, TaskStatus.DRAFT)
    )
    assert listed(browser, "?sort=status") == [running, draft, done]


@pytest.mark.parametrize("sort", ["gain", "-gain"])
def test_gain_is_sorted_as_it_is_shown(browser: Client, seeding: Seeding, sort: str) -> None:
    """Minimised and maximised, ended and running: the database sorts by what Python computes."""
    fates = (TaskStatus.COMPLETED, TaskStatus.RUNNING)
    ids = [seeding.task(index, fate=fate) for index in range(3) for fate in fates]
    without = seeding.task(0, fate=TaskStatus.DRAFT)
    gains = {row.task.pk: row.gain_over_baseline for row in read_rows(ids)}
    assert None not in gains.values()
    expected = sorted(ids, key=lambda one: gains[one] or 0, reverse=sort.startswith("-"))
    assert listed(browser, f"?sort={sort}") == [*expected, without]


def test_duration_of_a_running_task_counts_until_now(browser: Client, seeding: Seeding) -> None:
    ended = seeding.task(0, age=200, fate=TaskStatus.COMPLETED)
    running = seeding.task(0, fate=TaskStatus.RUNNING)
    long_ago = timezone.now() - timedelta(hours=100)
    Task.objects.filter(pk=running).update(started_at=long_ago)
    waiting = seeding.task(0, fate=TaskStatus.PENDING)
    assert listed(browser, "?sort=-duration") == [running, ended, waiting]
    assert listed(browser, "?sort=duration") == [ended, running, waiting]


@pytest.mark.parametrize(
    "sort", ["id", "-name", "-engine", "engine", "-status", "owner", "-owner", "created"]
)
def test_every_order_has_all_tasks(admin_client: Client, seeding: Seeding, sort: str) -> None:
    ids = {seeding.task(index, fate=TaskStatus.DRAFT) for index in range(3)}
    assert set(listed(admin_client, f"?sort={sort}")) == ids


def test_a_heading_turns_the_order_round(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    text = browser.get("/tasks/?sort=-gain&q=llama").content.decode()
    assert 'aria-sort="descending"' in text
    assert 'href="/tasks/?q=llama&amp;sort=gain"' in text


def test_pages_keep_the_filters(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(27)]
    seeding.task(1, fate=TaskStatus.DRAFT)
    first = browser.get("/tasks/?engine=sglang").content.decode()
    assert 'href="/tasks/?engine=sglang&amp;page=2"' in first
    assert listed(browser, "?engine=sglang") == ids[:1:-1]
    assert listed(browser, "?engine=sglang&page=2") == [ids[1], ids[0]]
    assert listed(browser, "?engine=sglang&page=77") == [ids[1], ids[0]]
