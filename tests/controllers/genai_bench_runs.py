"""A run of genai-bench as tests follow it: its log, waiting for it, and nothing left of it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tuning.domain.names import LogSource

PROJECT = Path(__file__).resolve().parents[2]


class Log:
    """Keeps the lines that a run logs."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, source: LogSource, line: str) -> None:
        assert source is LogSource.BENCHMARK
        self.lines.append(line)

    def __str__(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """No process that was told of this test's directory outlives the test, nor any thread."""
    yield
    assert processes_about(tmp_path) == []
    assert [
        t.name
        for t in threading.enumerate()
        if t.name in ("warm-up", "genai-bench output", "cache flush")
    ] == []


def processes_about(directory: Path) -> list[list[str]]:
    commands = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [words for words in commands if any(str(directory) in word for word in words)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(what: Callable[[], bool], within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
