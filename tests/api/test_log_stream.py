"""The log as server-sent events, from a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from tests.api.conftest import bearer
from tests.realtime.conftest import Site
from tests.services import wait_until
from tuning.api.log_stream import LATE_LINES
from tuning.domain.lifecycle import TaskStatus
from tuning.doorbell import announce_log
from tuning.models import LogChunk, Task
from tuning.realtime.bell import LOOK_EVERY_S

Event = dict[str, Any]


@pytest.fixture
def user(site: Site) -> User:
    return User.objects.create_user(f"program{User.objects.count()}")


@pytest.fixture
def task(user: User, make_task: Callable[..., Task]) -> Task:
    task = make_task()
    task.owner = user
    task.save()
    return task


def store(task: Task, count: int) -> int:
    """Append so many lines and ring; the number of the last one."""
    last = LogChunk.objects.filter(task=task).order_by("-last_seq").first()
    first_seq = last.last_seq + 1 if last else 1
    last_seq = first_seq + count - 1
    lines = [[1_700_000_000.5, "engine", f"ünï {seq}"] for seq in range(first_seq, last_seq + 1)]
    LogChunk.objects.create(task=task, first_seq=first_seq, last_seq=last_seq, lines=lines)
    announce_log(task.pk, last_seq)
    return last_seq


def end(task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(status=TaskStatus.CANCELLED, finished_at=timezone.now())


@contextmanager
def stream(
    site: Site, task: Task, headers: dict[str, str], query: str = "?stream=true"
) -> Iterator[Iterator[Event]]:
    url = f"http://{site.address}/api/tasks/{task.pk}/logs{query}"
    with httpx.stream("GET", url, headers=headers, timeout=LOOK_EVERY_S + 10) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        yield events(answer.iter_lines())


def events(lines: Iterator[str]) -> Iterator[Event]:
    """As a browser's EventSource reads them: fields up to an empty line."""
    event: Event = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif "data" in event:
            yield event
            event = {}
        else:
            event = {}


def sequence(received: Iterator[Event], until: int) -> list[int]:
    numbers = []
    for event in received:
        numbers.append(int(event["id"]))
        assert json.loads(event["data"])["text"] == f"ünï {numbers[-1]}"
        if numbers[-1] == until:
            break
    return numbers


def test_it_resumes_exactly_and_ends_with_the_task(site: Site, user: User, task: Task) -> None:
    headers = bearer(user)
    store(task, 1500)
    with stream(site, task, headers) as received:
        seen = sequence(received, until=1200)
    # What the program had not read when its connection broke comes again, and nothing else.
    again = {**headers, "Accept": "text/event-stream", "Last-Event-ID": "1200"}
    with stream(site, task, again, query="") as received:
        seen += sequence(received, until=1500)
        store(task, 3)
        seen += sequence(received, until=1503)
        end(task)
        store(task, 1)
        seen += sequence(received, until=1504)
        (last,) = received
    assert seen == list(range(1, 1505))
    assert last == {"event": "end", "data": '{"status": "CANCELLED"}'}


def test_lines_come_while_they_are_written(site: Site, user: User, task: Task) -> None:
    with stream(site, task, bearer(user)) as received:
        store(task, 1)
        sequence(received, until=1)
        time.sleep(0.2)
        began = time.monotonic()
        store(task, 1)
        sequence(received, until=2)
    assert time.monotonic() - began < LOOK_EVERY_S / 2


def test_the_log_of_a_task_that_ended_long_ago_ends_at_once(
    site: Site, user: User, task: Task
) -> None:
    store(task, 2)
    end(task)
    Task.objects.filter(pk=task.pk).update(finished_at=timezone.now() - LATE_LINES)
    began = time.monotonic()
    with stream(site, task, bearer(user), "?stream=true&after=1") as received:
        line, last = received
    assert (line["id"], last["event"]) == ("2", "end")
    assert time.monotonic() - began < LOOK_EVERY_S / 2


def test_a_deleted_task_ends_its_stream(site: Site, user: User, task: Task) -> None:
    with stream(site, task, bearer(user)) as received:
        store(task, 1)
        sequence(received, until=1)
        Task.objects.filter(pk=task.pk).delete()
        assert list(received) == []


def test_nothing_is_left_of_streams_whose_readers_went_away(
    site: Site, user: User, task: Task
) -> None:
    """Neither threads, nor open files, nor groups of the channel layer."""
    headers = bearer(user)
    server = next(
        psutil.Process(child.pid)
        for child in site.installation.children
        if child.is_alive and "daphne" in child.output_file.name
    )

    def read_and_leave(times: int) -> None:
        for _ in range(times):
            with stream(site, task, headers, "?stream=true") as received:
                store(task, 1)
                next(received)

    read_and_leave(3)
    wait_until(lambda: not _joined(site, task), "the first readers to be forgotten")
    before = (server.num_threads(), server.num_fds())
    read_and_leave(20)
    wait_until(lambda: not _joined(site, task), "the readers to be forgotten")
    wait_until(
        lambda: server.num_threads() <= before[0] + 2 and server.num_fds() <= before[1] + 2,
        f"threads and files to go back to {before}",
    )


def _joined(site: Site, task: Task) -> int:
    with site.redis.client() as client:
        return sum(client.zcard(key) for key in client.keys(f"*task.{task.pk}.log*"))
