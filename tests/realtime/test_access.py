"""Only a signed-in user who may see the task is let in, from a page of this site."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from websockets.exceptions import InvalidStatus

from tests.realtime.conftest import Site
from tests.realtime.sockets import Browser, close_code, receive
from tuning.models import Task

BOTH_SOCKETS = ["/ws/tasks/{}/", "/ws/tasks/{}/logs/"]
each_socket = pytest.mark.parametrize("path", BOTH_SOCKETS)


@each_socket
def test_somebody_who_is_not_signed_in_is_refused(site: Site, task: Task, path: str) -> None:
    with Browser(site.address).open(path.format(task.pk)) as socket:
        assert receive(socket) == {"error": "Sign in to watch a task."}
        assert close_code(socket) == 4401


@each_socket
def test_a_session_of_nobody_is_no_session(site: Site, task: Task, path: str) -> None:
    with Browser(site.address, "sessionid=made-up").open(path.format(task.pk)) as socket:
        assert close_code(socket) == 4401


@each_socket
def test_another_users_task_looks_like_no_task(
    site: Site, task: Task, make_user: Callable[[], User], path: str
) -> None:
    stranger = site.browser_of(make_user())
    answers = []
    for task_id in (task.pk, task.pk + 1000, 10**30):
        with stranger.open(path.format(task_id)) as socket:
            answers.append((receive(socket), close_code(socket)))
    assert answers == [({"error": "There is no such task."}, 4404)] * 3


@each_socket
def test_the_right_to_view_tasks_opens_every_task(
    site: Site, task: Task, make_user: Callable[[], User], path: str
) -> None:
    operator = make_user()
    operator.user_permissions.add(Permission.objects.get(codename="view_task"))
    with site.browser_of(operator).open(path.format(task.pk)) as socket:
        if not path.endswith("logs/"):
            assert receive(socket)["task_id"] == task.pk
        socket.ping().wait(5)
        assert socket.close_code is None


@each_socket
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_page_of_another_site_is_refused(
    browser: Browser, task: Task, path: str, origin: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        browser.open(path.format(task.pk), origin=origin)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "path", ["/ws/", "/", "/ws/tasks/x/", "/ws/tasks/1/logs/more", "/ws/tasks/-1/"]
)
def test_an_unknown_address_is_refused_without_a_traceback(browser: Browser, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        browser.open(path)
    assert refused.value.response.status_code == 403


def test_a_task_that_is_deleted_ends_its_sockets(browser: Browser, task: Task) -> None:
    with browser.open_task(task.pk) as socket, browser.open_log(task.pk) as log:
        receive(socket)
        task.delete()
        assert close_code(socket) == 4404
        assert close_code(log) == 4404


def test_what_a_page_sends_is_ignored(browser: Browser, task: Task) -> None:
    with browser.open_task(task.pk) as socket:
        receive(socket)
        for message in ("{", "", '{"type": "task.changed"}', b"\xff\x00"):
            socket.send(message)
        assert socket.ping().wait(5)
        assert socket.close_code is None
