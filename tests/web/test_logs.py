"""The log viewer's page, the older lines that it loads, and the download."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import LogSource
from tuning.logs import LogLine, format_line
from tuning.models import LogChunk, Task
from tuning.web.log_lines import LONGEST_STRETCH

BrowserOf = Callable[[User], Client]
STARTED_AT = 1_790_000_000.0

# The sync test client reads the asynchronous stream at once, and Django says so.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")


@pytest.fixture
def task(seeding: Seeding) -> Task:
    task = Task.objects.get(pk=seeding.task(experiments=3, fate=TaskStatus.COMPLETED))
    LogChunk.objects.filter(task=task).delete()
    return task


def line(number: int) -> list[Any]:
    source = ("engine", "benchmark", "orchestrator")[number % 3]
    return [STARTED_AT + number, source, f"line {number} \x1b[31mred\x1b[0m ✓"]


def write(task: Task, count: int, chunk: int = 700) -> None:
    LogChunk.objects.bulk_create(
        LogChunk(
            task=task,
            first_seq=first,
            last_seq=min(first + chunk - 1, count),
            lines=[line(number) for number in range(first, min(first + chunk, count + 1))],
        )
        for first in range(1, count + 1, chunk)
    )


def as_file(count: int) -> str:
    lines = (line(number) for number in range(1, count + 1))
    return "".join(f"{format_line(LogLine(at, LogSource(who), what))}\n" for at, who, what in lines)


def get_lines(browser: Client, task: Task, **query: int) -> list[list[Any]]:
    answer = browser.get(reverse("task-log-lines", args=[task.pk]), query)
    assert answer.status_code == 200
    return list(answer.json()["lines"])


def test_the_page_tells_the_viewer_where_the_lines_are(
    browser_of: BrowserOf, owner: User, task: Task
) -> None:
    write(task, 1500)
    page = browser_of(owner).get(reverse("task-log", args=[task.pk])).content.decode()

    assert f'src="/ws/tasks/{task.pk}/logs/"' in page
    assert f'lines="/tasks/{task.pk}/logs/lines/"' in page
    assert 'last="1500"' in page
    assert "from-time" not in page
    streams = re.findall(r'name="source" value="(\w+)" checked', page)
    assert streams == ["engine", "benchmark", "orchestrator"]


def test_an_address_can_name_a_stream_and_an_experiment(
    browser_of: BrowserOf, owner: User, task: Task
) -> None:
    experiment = task.experiments.get(number=1)
    assert experiment.started_at is not None
    address = reverse("task-log", args=[task.pk])
    query = {"source": ["benchmark", "nonsense"], "experiment": "1"}
    page = browser_of(owner).get(address, query).content.decode()

    assert f'from-time="{experiment.started_at.timestamp():.3f}"' in page
    assert re.findall(r'value="(\w+)" checked', page) == ["benchmark"]


@pytest.mark.parametrize("number", ["99", "x", "-1", "", "²", "9" * 30])
def test_an_experiment_that_is_none_is_ignored(
    browser_of: BrowserOf, owner: User, task: Task, number: str
) -> None:
    address = reverse("task-log", args=[task.pk])
    page = browser_of(owner).get(address, {"experiment": number})

    assert page.status_code == 200
    assert "from-time" not in page.content.decode()


def test_a_log_without_lines_says_why(browser_of: BrowserOf, owner: User, task: Task) -> None:
    browser = browser_of(owner)
    address = reverse("task-log", args=[task.pk])

    assert "A log is removed 30 days after" in browser.get(address).content.decode()
    Task.objects.filter(pk=task.pk).update(status="RUNNING", finished_at=None)
    assert "No lines yet" in browser.get(address).content.decode()


def test_stretches_have_exactly_the_lines_that_were_asked_for(
    browser_of: BrowserOf, owner: User, task: Task
) -> None:
    write(task, 2000)
    browser = browser_of(owner)

    assert get_lines(browser, task, first=695, last=1405) == [
        [number, *line(number)] for number in range(695, 1406)
    ]
    assert get_lines(browser, task, first=1999, last=5000) == [
        [number, *line(number)] for number in (1999, 2000)
    ]
    assert get_lines(browser, task, first=2001, last=3000) == []


def test_a_stretch_has_an_end(browser_of: BrowserOf, owner: User, task: Task) -> None:
    write(task, LONGEST_STRETCH + 500)

    found = get_lines(browser_of(owner), task, first=2, last=10**9)
    assert [found[0][0], found[-1][0]] == [2, LONGEST_STRETCH + 1]


@pytest.mark.parametrize("query", [{}, {"first": "x", "last": "2"}, {"first": "0", "last": "5"}])
def test_a_stretch_that_makes_no_sense_is_refused(
    browser_of: BrowserOf, owner: User, task: Task, query: dict[str, str]
) -> None:
    answer = browser_of(owner).get(reverse("task-log-lines", args=[task.pk]), query)

    assert answer.status_code == 400
    assert "first" in answer.json()["errors"]


def test_the_download_is_the_log_file(browser_of: BrowserOf, owner: User, task: Task) -> None:
    count = LONGEST_STRETCH + 321
    write(task, count)
    answer = browser_of(owner).get(reverse("task-log-download", args=[task.pk]))

    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"] == (
        f'attachment; filename="task-{task.pk}-llama-3-1-8b-chat-latency-1-log.txt"'
    )
    assert b"".join(answer).decode() == as_file(count)


def test_a_download_without_lines_is_an_empty_file(
    browser_of: BrowserOf, owner: User, task: Task
) -> None:
    answer = browser_of(owner).get(reverse("task-log-download", args=[task.pk]))

    assert b"".join(answer) == b""


async def _largest_part(task: Task) -> tuple[int, int]:
    from tuning.web.log_lines import text_of_log

    parts = [len(part) async for part in text_of_log(task)]
    return len(parts), max(parts)


def test_a_large_log_is_streamed_in_parts(task: Task) -> None:
    from asgiref.sync import async_to_sync

    write(task, 3 * LONGEST_STRETCH, chunk=2000)

    count, largest = async_to_sync(_largest_part)(task)
    assert count == 3
    assert largest < len(as_file(3 * LONGEST_STRETCH)) / 2


@pytest.mark.parametrize("name", ["task-log", "task-log-lines", "task-log-download"])
def test_a_stranger_learns_nothing(
    browser_of: BrowserOf, stranger: User, task: Task, name: str
) -> None:
    answer = browser_of(stranger).get(reverse(name, args=[task.pk]), {"first": 1, "last": 2})

    assert answer.status_code == 404
