"""Every line arrives once and in order, whatever happens to the socket and to the bell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from websockets.sync.connection import Connection

from tests.realtime.conftest import Site
from tests.realtime.sockets import Browser, LogReader, close_code, receive
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import LogSource
from tuning.logs import LONGEST_CHUNK, TaskLog
from tuning.models import LogChunk, Task
from tuning.realtime.bell import LOOK_EVERY_S
from tuning.realtime.log_reading import MAX_CHARACTERS, MAX_LINES


def store(task: Task, *chunks: list[str]) -> None:
    """Append chunks to the task's log as they are stored, without a ring."""
    last = LogChunk.objects.filter(task=task).order_by("-last_seq").first()
    seq = last.last_seq if last else 0
    for texts in chunks:
        lines = [[1_700_000_000.5, "engine", text] for text in texts]
        LogChunk.objects.create(
            task=task, first_seq=seq + 1, last_seq=seq + len(texts), lines=lines
        )
        seq += len(texts)


def end(task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(status=TaskStatus.CANCELLED, finished_at=timezone.now())


def to_the_end(socket: Connection) -> list[list[list[Any]]]:
    """The batches up to the message that says that the task has ended."""
    batches = []
    while "end" not in (document := receive(socket)):
        batches.append(document["lines"])
    return batches


@pytest.mark.parametrize(
    "after", ["x", "-1", "", "1.5", "１", "+1", "1e3", "99999999999999999999", "1%00"]
)
def test_a_bad_number_is_refused_with_a_reason(browser: Browser, task: Task, after: str) -> None:
    with browser.open_log(task.pk, after) as socket:
        assert receive(socket)["error"].startswith("after: ")
        assert close_code(socket) == 4400


def test_a_line_has_its_number_time_source_and_text(browser: Browser, task: Task) -> None:
    store(task, ["first", "ünï ☃ \x1b[31m"])
    with browser.open_log(task.pk) as socket:
        assert receive(socket) == {
            "lines": [
                [1, 1_700_000_000.5, "engine", "first"],
                [2, 1_700_000_000.5, "engine", "ünï ☃ \x1b[31m"],
            ]
        }


@pytest.mark.parametrize("after", range(8))
def test_a_reconnect_goes_on_after_its_last_line(browser: Browser, task: Task, after: int) -> None:
    """Also when that line is in the middle of a chunk, or none has come yet."""
    store(task, ["1"], ["2", "3", "4"], ["5", "6"])
    end(task)
    with browser.open_log(task.pk, after) as socket:
        texts = [line[3] for batch in to_the_end(socket) for line in batch]
    assert texts == [str(number) for number in range(after + 1, 7)]


def test_a_long_log_comes_in_bounded_batches(browser: Browser, task: Task) -> None:
    texts = [str(number) for number in range(1, 5501)]
    store(task, texts[:2500], texts[2500:2501], texts[2501:4500], texts[4500:])
    end(task)
    with browser.open_log(task.pk) as socket:
        batches = to_the_end(socket)
    assert max(len(batch) for batch in batches) <= MAX_LINES
    assert [line[0] for batch in batches for line in batch] == list(range(1, 5501))
    assert [line[3] for batch in batches for line in batch] == texts


def test_long_lines_make_small_batches(browser: Browser, task: Task) -> None:
    third = MAX_CHARACTERS // 3
    store(task, ["a" * third] * 8, ["b" * (2 * MAX_CHARACTERS), "c"])
    end(task)
    with browser.open_log(task.pk) as socket:
        batches = to_the_end(socket)
    assert [len(batch) for batch in batches] == [3, 3, 2, 1, 1]


@pytest.mark.slow
def test_the_end_is_said_once_and_the_socket_stays_for_a_resume(
    browser: Browser, task: Task
) -> None:
    with browser.open_log(task.pk) as socket:
        store(task, ["one"])
        assert len(receive(socket)["lines"]) == 1
        end(task)
        assert receive(socket) == {"end": True}
        with pytest.raises(TimeoutError):
            receive(socket, LOOK_EVERY_S + 0.5)
        Task.objects.filter(pk=task.pk).update(status=TaskStatus.RUNNING, finished_at=None)
        store(task, ["two"])
        assert receive(socket)["lines"][0][3] == "two"
        end(task)
        assert receive(socket) == {"end": True}


def test_a_burst_is_stored_in_pieces(site: Site, task: Task, tmp_path: Path) -> None:
    lines = 2 * LONGEST_CHUNK + 1
    stored: list[int] = []
    with TaskLog(task.pk, tmp_path, on_stored=stored.append, flush_interval_s=60) as log:
        for number in range(lines):
            log(LogSource.ENGINE, str(number))
    chunks = list(LogChunk.objects.filter(task=task))
    assert [chunk.first_seq for chunk in chunks] == [1, LONGEST_CHUNK + 1, lines]
    assert [line[2] for chunk in chunks for line in chunk.lines] == list(map(str, range(lines)))
    assert stored == [lines]


@pytest.mark.slow
def test_a_busy_log_survives_reconnects_and_a_killed_channel_layer(
    site: Site, browser: Browser, task: Task
) -> None:
    """2,000 lines/s for 20 s. The full measurement is `benchmarks/logs.py`."""
    lines = 40_000
    writer = site.installation.start(
        "writer", "-m", "tests.realtime.log_writer", str(task.pk), str(lines), "2000"
    )
    reader = LogReader(browser, task.pk)
    troubles = [
        (9_000, site.redis.flush),
        (12_000, site.redis.kill),
        (22_000, site.redis.start),
        (26_000, site.redis.restart),
    ]

    def make_trouble() -> None:
        if troubles and len(reader.sequence) >= troubles[0][0]:
            troubles.pop(0)[1]()

    reader.read(lines, 90, reconnect_after=[7_000, 15_000, 30_000], on_batch=make_trouble)
    assert writer.wait() == 0, writer.output()
    assert (reader.reconnects, troubles) == (3, [])
    assert reader.has_every_line_once_and_in_order
    assert len(reader.sequence) == lines
