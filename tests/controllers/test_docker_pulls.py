"""Pulling an image: how far it is, and that it can be interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from docker.errors import ImageNotFound

from controllers.images import ensure_image, progress_lines


def test_a_pull_is_told_now_and_then_in_mib() -> None:
    times = iter([0.0, 1.0, 3.0, 3.0, 3.1, 10.0, 10.0])
    mib = 1024 * 1024
    events = [
        {"id": "a", "status": "Downloading", "progressDetail": {"current": mib, "total": 8 * mib}},
        {"id": "b", "status": "Downloading", "progressDetail": {"current": mib, "total": 2 * mib}},
        {"id": "a", "status": "Extracting", "progressDetail": {}},
        {
            "id": "a",
            "status": "Downloading",
            "progressDetail": {"current": 8 * mib, "total": 8 * mib},
        },
    ]
    lines = list(progress_lines(events, lambda: next(times)))
    assert lines == ["pulled 2 of 10 MiB", "pulled 9 of 10 MiB"]


class SilentRegistry:
    """As docker-py's client, of an engine whose registry never answers."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.images = self.api = self

    def get(self, name: str) -> None:
        raise ImageNotFound("No such image")

    def pull(self, *_: object, **__: object) -> Iterator[dict[str, Any]]:
        self.answer.wait(30)
        return iter(())


def test_a_pull_that_gets_nowhere_can_be_interrupted() -> None:
    class Cancelled(Exception):
        pass

    def tick() -> None:
        raise Cancelled

    registry, said = SilentRegistry(), list[str]()
    with pytest.raises(Cancelled):
        ensure_image(registry, "name:tag", said.append, tick)  # type: ignore[arg-type]
    assert said == ["pulling name:tag, which is not on this host yet"]
    assert not registry.answer.is_set()
    registry.answer.set()
