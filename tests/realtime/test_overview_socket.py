"""A page of many tasks learns that something has changed, and only of tasks that are its user's."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User

from tests.realtime.conftest import Site
from tests.realtime.sockets import Browser, close_code, receive
from tuning.doorbell import announce_task
from tuning.models import Task
from tuning.orchestrator.advance import advance

OVERVIEW = "/ws/tasks/"


def test_nobody_is_refused(site: Site) -> None:
    with Browser(site.address).open(OVERVIEW) as socket:
        assert close_code(socket) == 4401


def test_it_says_how_far_the_open_tasks_are(browser: Browser, task: Task) -> None:
    with browser.open(OVERVIEW) as socket:
        before = receive(socket)
        advance(task.pk)
        announce_task(task.pk)
        after = receive(socket)
    assert before["open"][str(task.pk)] == {"status": "PENDING", "experiments": {}}
    assert after["open"][str(task.pk)] == {"status": "RUNNING", "experiments": {"PENDING": 1}}
    assert after["counts"]["RUNNING"] == before["counts"].get("RUNNING", 0) + 1


def test_others_see_nothing_of_it(site: Site, make_user: Callable[[], User], task: Task) -> None:
    with site.browser_of(make_user()).open(OVERVIEW) as socket:
        assert receive(socket) == {"counts": {}, "open": {}}
