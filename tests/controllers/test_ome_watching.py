"""A watch misses nothing: over dropped connections, forgotten versions, and silence."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controllers.cluster.objects import POD
from controllers.cluster.watching import ObjectWatch
from tests.controllers.api_server import HANG_UP, Answer, FakeApiServer, Request, api_server, status
from tests.controllers.conftest import wait_for

Watching = Callable[..., ObjectWatch]


def pod(name: str, version: int, phase: str = "Pending") -> dict[str, Any]:
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


def listing(version: int, *pods: dict[str, Any]) -> Answer:
    return Answer({"metadata": {"resourceVersion": str(version)}, "items": list(pods)})


def change(kind: str, document: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": document}


class Script:
    """Answers lists and watches in the order given; then stays silent until the test is over."""

    def __init__(self) -> None:
        self.lists: list[Answer] = []
        self.watches: list[list[Any]] = []
        self._over = threading.Event()

    def __call__(self, request: Request) -> Answer:
        if request.query.get("watch") != "true":
            return self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if not self.watches:
            return Answer(pieces=self._silence())
        pieces = self.watches.pop(0)
        if len(pieces) == 1 and isinstance(pieces[0], Answer):
            return pieces[0]
        return Answer(pieces=itertools.chain(pieces, () if self.watches else self._silence()))

    def end(self) -> None:
        self._over.set()

    def _silence(self) -> Iterator[Any]:
        self._over.wait(20)
        yield from ()


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()
    yield script
    script.end()


@pytest.fixture
def server(script: Script) -> Iterator[FakeApiServer]:
    with api_server(script) as server:
        yield server
        script.end()


@pytest.fixture
def watching(server: FakeApiServer) -> Iterator[Watching]:
    watches: list[ObjectWatch] = []

    def watching(**choice: Any) -> ObjectWatch:
        on_change = choice.pop("on_change", lambda: None)
        watches.append(ObjectWatch(server.client(), POD, "default", on_change, **choice))
        return watches[-1]

    yield watching
    for watch in watches:
        watch.close()
        watch.join(5)
        assert not watch._thread.is_alive()


def phases(watch: ObjectWatch) -> dict[str, str]:
    return {one["metadata"]["name"]: one["status"]["phase"] for one in watch.objects}


def versions_watched(server: FakeApiServer) -> list[str]:
    return [
        one.query["resourceVersion"] for one in server.requests if one.query.get("watch") == "true"
    ]


def test_what_is_there_and_what_comes(script: Script, watching: Watching) -> None:
    script.lists = [listing(5, pod("a", 3))]
    script.watches = [
        [
            change("ADDED", pod("b", 6)),
            change("MODIFIED", pod("a", 7, "Running")),
            change("DELETED", pod("b", 8)),
        ]
    ]
    told: list[int] = []
    watch = watching(on_change=lambda: told.append(1))
    wait_for(lambda: phases(watch) == {"a": "Running"})
    assert watch.is_listed
    wait_for(lambda: len(told) == 4)


def test_selectors_are_sent_and_what_is_kept_is_chosen(
    script: Script, server: FakeApiServer, watching: Watching
) -> None:
    script.lists = [listing(5, pod("a", 3), pod("b", 4))]
    script.watches = [[change("ADDED", pod("c", 6)), change("ADDED", pod("b2", 7))]]
    watch = watching(
        labels="x=y",
        fields="metadata.name=b",
        keep=lambda one: one["metadata"]["name"].startswith("b"),
    )
    wait_for(lambda: set(phases(watch)) == {"b", "b2"})
    for request in server.requests:
        assert request.query["labelSelector"] == "x=y"
        assert request.query["fieldSelector"] == "metadata.name=b"


def test_after_a_watch_ends_the_next_goes_on_from_the_last_version(
    script: Script, server: FakeApiServer, watching: Watching
) -> None:
    script.lists = [listing(5)]
    bookmark = change("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    script.watches = [[change("ADDED", pod("a", 6)), bookmark], [change("ADDED", pod("b", 10))]]
    watch = watching()
    wait_for(lambda: set(phases(watch)) == {"a", "b"})
    assert versions_watched(server)[:2] == ["5", "9"]


def test_a_connection_that_breaks_in_the_middle_of_a_change_loses_nothing(
    script: Script, server: FakeApiServer, watching: Watching
) -> None:
    script.lists = [listing(5)]
    script.watches = [
        [change("ADDED", pod("a", 6)), b'{"type": "ADDED", "obj', HANG_UP],
        [change("ADDED", pod("b", 7))],
    ]
    watch = watching()
    wait_for(lambda: set(phases(watch)) == {"a", "b"})
    assert versions_watched(server)[:2] == ["5", "6"]
    wait_for(lambda: watch.silent_s() == 0.0)


@pytest.mark.parametrize("as_an_event", [True, False])
def test_a_forgotten_version_is_listed_anew_and_what_is_not_there_is_gone(
    script: Script, server: FakeApiServer, watching: Watching, as_an_event: bool
) -> None:
    gone = status(410, "Expired", "too old resource version: 6 (999)")
    script.lists = [listing(5, pod("a", 3), pod("lost", 4)), listing(1000, pod("a", 900, "Failed"))]
    script.watches = [
        [change("ERROR", gone)] if as_an_event else [Answer(gone, 410)],
        [change("ADDED", pod("b", 1001))],
    ]
    watch = watching()
    wait_for(lambda: phases(watch) == {"a": "Failed", "b": "Pending"})
    assert versions_watched(server)[:2] == ["5", "1000"]


def test_a_missing_right_is_told_and_goes_when_it_is_given(
    script: Script, watching: Watching
) -> None:
    forbidden = Answer(status(403, "Forbidden", 'User "me" cannot list resource "pods"'), 403)
    script.lists = [forbidden, listing(5, pod("a", 3))]
    told: list[int | None] = []
    watch = watching(on_change=lambda: told.append(1))
    wait_for(lambda: phases(watch) == {"a": "Pending"})
    assert len(told) >= 2
    wait_for(lambda: watch.refusal is None)


def test_a_right_that_stays_missing_stays_told(script: Script, watching: Watching) -> None:
    script.lists = [Answer(status(403, "Forbidden", "no"), 403)]
    watch = watching()
    wait_for(lambda: watch.refusal is not None)
    assert watch.refusal is not None
    assert watch.refusal.status == 403
    assert not watch.is_listed


def test_a_server_that_is_away_is_noticed_and_what_was_known_stays(script: Script) -> None:
    script.lists = [listing(5, pod("a", 3))]
    script.watches = [[HANG_UP]]
    with api_server(script) as server:
        watch = ObjectWatch(server.client(), POD, "default", lambda: None)
        wait_for(lambda: watch.is_listed)
    wait_for(lambda: watch.silent_s() > 0.0)
    assert phases(watch) == {"a": "Pending"}
    watch.close()
    watch.join(5)


def test_a_listener_that_raises_does_not_end_the_watch(script: Script, watching: Watching) -> None:
    script.lists = [listing(5)]
    script.watches = [[change("ADDED", pod("a", 6)), change("ADDED", pod("b", 7))]]

    def broken() -> None:
        raise RuntimeError("as if")

    watch = watching(on_change=broken)
    wait_for(lambda: set(phases(watch)) == {"a", "b"})


def test_closing_wakes_a_watch_that_waits(script: Script, watching: Watching) -> None:
    script.lists = [listing(5)]
    watch = watching()
    wait_for(lambda: watch.is_listed)
    watch.close()
    watch.join(5)
    assert not watch._thread.is_alive()
    watch.close()
