"""A pod's log arrives once and whole, wherever its connection breaks."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.cluster.pod_log import ContainerRun, PodLog, SeenLines
from tests.controllers.api_server import HANG_UP, Answer, FakeApiServer, Request, api_server, status
from tests.controllers.conftest import wait_for

BEGIN = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)
RUN = ContainerRun("engine-0", "ome-container", 0)


def stamped(at_ms: int, text: str) -> bytes:
    at = BEGIN + timedelta(milliseconds=at_ms)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}000000Z {text}".encode()


# --- Which lines are new ---


def kubelet_since(lines: list[bytes], since: str | None) -> list[bytes]:
    """What a kubelet sends: it compares whole timestamps, and lines stay in their order."""
    if since is None:
        return lines
    second = since.removesuffix("Z").encode()
    return [line for line in lines if line.partition(b" ")[0] >= second]


times_ms = st.lists(st.integers(0, 4_000), min_size=1, max_size=30).map(sorted)
texts = st.sampled_from(["same", "other", ""])


@given(
    times_ms.flatmap(
        lambda at: st.tuples(st.just(at), st.lists(texts, min_size=len(at), max_size=len(at)))
    ),
    st.data(),
)
def test_every_line_comes_once_however_often_the_connection_breaks(
    log: tuple[list[int], list[str]], data: st.DataObject
) -> None:
    lines = [stamped(at, text) for at, text in zip(*log, strict=True)]
    seen, got = SeenLines(), []
    for _ in range(data.draw(st.integers(0, 5))):
        seen.begin_anew()
        available = kubelet_since(lines, seen.resume_from)
        for line in available[: data.draw(st.integers(0, len(available)))]:
            got.append(seen.news(line))
    seen.begin_anew()
    got += [seen.news(line) for line in kubelet_since(lines, seen.resume_from)]
    assert [text for text in got if text is not None] == [text.encode() for text in log[1]]


def test_a_line_that_is_late_by_less_than_a_second_is_not_lost() -> None:
    early, late = stamped(1_100, "on time"), stamped(990, "late")
    seen = SeenLines()
    seen.begin_anew()
    assert seen.news(early) == b"on time"
    seen.begin_anew()
    again = kubelet_since([early, late], seen.resume_from)
    assert [seen.news(line) for line in again] == [None, b"late"]


@pytest.mark.parametrize(
    ("zone", "since"),
    [("Z", "2026-01-31T23:59:57Z"), ("+02:00", "2026-01-31T21:59:57Z")],
)
def test_it_resumes_in_utc(zone: str, since: str) -> None:
    seen = SeenLines()
    assert seen.resume_from is None
    assert seen.news(f"2026-01-31T23:59:58.5{zone} text".encode()) == b"text"
    assert seen.resume_from == since


def test_what_has_no_timestamp_is_passed_on() -> None:
    assert SeenLines().news(b"unable to retrieve container logs") is not None


# --- Reading them ---


class FakeContainer:
    """What the kubelet knows of one container: its lines, whether it has ended, its restarts."""

    def __init__(self) -> None:
        self.answers: list[Callable[[Request], Answer]] = []
        self.has_ended = threading.Event()
        self.restarts = 0
        self.told: list[str] = []

    def __call__(self, request: Request) -> Answer:
        assert request.path == "/api/v1/namespaces/default/pods/engine-0/log"
        assert request.query["container"] == "ome-container"
        return self.answers.pop(0)(request) if len(self.answers) > 1 else self.answers[0](request)


@pytest.fixture
def container() -> FakeContainer:
    return FakeContainer()


@pytest.fixture
def server(container: FakeContainer) -> Iterator[FakeApiServer]:
    with api_server(container) as server:
        yield server


@pytest.fixture
def follow(server: FakeApiServer, container: FakeContainer) -> Iterator[Callable[[], PodLog]]:
    logs: list[PodLog] = []

    def follow() -> PodLog:
        logs.append(
            PodLog(
                server.client(),
                "default",
                RUN,
                sink=container.told.append,
                has_ended=container.has_ended.is_set,
                restarts_now=lambda: container.restarts,
            )
        )
        return logs[-1]

    yield follow
    for log in logs:
        log.close()
        log.join(5)


def chunks(*pieces: Any) -> Callable[[Request], Answer]:
    return lambda request: Answer(pieces=pieces)


def refused(code: int, message: str) -> Callable[[Request], Answer]:
    return lambda request: Answer(status(code, "BadRequest", message), code)


def test_a_break_in_the_middle_of_a_line_shows_in_nothing(
    container: FakeContainer, follow: Callable[[], PodLog], server: FakeApiServer
) -> None:
    first, second, third = (stamped(ms, f"line {ms}") for ms in (0, 10, 20))
    container.answers = [
        chunks(first + b"\n" + second[:30], HANG_UP),
        chunks(first + b"\n" + second + b"\n" + third + b"\n"),
    ]
    log = follow()
    wait_for(lambda: len(server.requests) >= 2)
    container.has_ended.set()
    log.join(5)
    assert log.lines() == ["line 0", "line 10", "line 20"]
    assert server.requests[0].query["follow"] == "true"
    assert server.requests[1].query["sinceTime"] == "2026-01-31T23:59:57Z"


def test_a_container_that_has_not_begun_is_asked_again(
    container: FakeContainer, follow: Callable[[], PodLog]
) -> None:
    container.answers = [
        refused(400, 'container "x" in pod "y" is waiting to start: ContainerCreating'),
        chunks(stamped(0, "here") + b"\n"),
    ]
    log = follow()
    wait_for(lambda: log.lines() == ["here"])


def test_the_life_before_a_restart_is_read_as_the_previous_one(
    container: FakeContainer, follow: Callable[[], PodLog], server: FakeApiServer
) -> None:
    container.restarts = 1
    container.has_ended.set()
    container.answers = [chunks(stamped(0, "last words"))]
    log = follow()
    log.join(5)
    assert log.lines() == ["last words"]
    (request,) = server.requests
    assert request.query["previous"] == "true"
    assert "follow" not in request.query


def test_a_missing_right_is_told_once(
    container: FakeContainer, follow: Callable[[], PodLog], server: FakeApiServer
) -> None:
    container.answers = [refused(403, 'User "u" cannot get resource "pods/log"')]
    log = follow()
    wait_for(lambda: len(server.requests) >= 3)
    container.has_ended.set()
    log.join(10)
    (told,) = container.told
    assert told.startswith("Could not read the engine's log")
    assert "pods/log" in told
    assert log.lines() == []


@pytest.mark.parametrize("code", [404, 400, 500])
def test_a_log_that_is_gone_is_given_up(
    container: FakeContainer, follow: Callable[[], PodLog], code: int
) -> None:
    container.has_ended.set()
    container.answers = [refused(code, "no such container")]
    log = follow()
    log.join(10)
    assert not log._thread.is_alive()
    assert log.lines() == []


def test_closing_wakes_a_reader_that_waits(
    container: FakeContainer, follow: Callable[[], PodLog]
) -> None:
    over = threading.Event()

    def silence() -> Iterator[bytes]:
        yield stamped(0, "one") + b"\n"
        over.wait(20)

    container.answers = [lambda request: Answer(pieces=silence())]
    log = follow()
    wait_for(lambda: log.lines() == ["one"])
    log.close()
    log.join(5)
    assert not log._thread.is_alive()
    over.set()


def test_many_lines_over_many_breaks(
    container: FakeContainer, follow: Callable[[], PodLog]
) -> None:
    lines = [stamped(number // 50, f"line {number}") for number in range(900)]
    cuts = itertools.count(70, 97)

    def partly(request: Request) -> Answer:
        known = kubelet_since(lines, request.query.get("sinceTime"))
        cut = next(cuts)
        if cut >= len(known):
            return Answer(pieces=[b"".join(one + b"\n" for one in known)])
        return Answer(pieces=[b"\n".join(known[:cut]) + b"\n" + known[cut][:20], HANG_UP])

    container.answers = [partly]
    log = follow()
    wait_for(lambda: len(log.lines()) == len(lines))
    container.has_ended.set()
    log.join(5)
    assert log.lines() == [f"line {number}" for number in range(900)]
