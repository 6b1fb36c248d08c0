"""A task's log, in pieces."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import LogChunk

pytestmark = pytest.mark.django_db


def test_pieces_make_up_the_log(api: Client, seeding: Seeding) -> None:
    path = f"/api/tasks/{seeding.task(fate=TaskStatus.RUNNING)}/logs"
    seen, after = [], 0
    while (page := api.get(f"{path}?after={after}&limit=150").json())["lines"]:
        seen += page["lines"]
        after = page["last_seq"]
    assert [line["seq"] for line in seen] == list(range(1, 401))
    assert (page["last_seq"], page["task_has_ended"]) == (400, False)
    assert seen[1]["text"] == "\x1b[32mINFO\x1b[0m loading weights"
    assert (seen[1]["source"], seen[1]["time"][-6:]) == ("engine", "+00:00")


def test_a_task_without_a_log(api: Client, seeding: Seeding) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED)
    LogChunk.objects.all().delete()
    page = api.get(f"/api/tasks/{task_id}/logs?after=7").json()
    assert page == {"lines": [], "last_seq": 7, "task_has_ended": True}


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, */*;q=0.8"])
def test_only_who_asks_for_a_stream_gets_one(api: Client, seeding: Seeding, accept: str) -> None:
    answer = api.get(f"/api/tasks/{seeding.task()}/logs", headers={"Accept": accept})
    assert answer["Content-Type"].startswith("application/json")
