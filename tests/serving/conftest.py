"""`manage.py serve` as a user runs it, on a data directory of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import PROJECT, Installation, installation

__all__ = ["installation"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A running command whose output is read as it comes."""

    def __init__(self, command: Sequence[str | Path], env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=env,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As in a terminal: Ctrl-C reaches the group of the command, and only that.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        """What `condition` returned once that was true."""
        deadline = time.monotonic() + timeout_s
        while not (result := condition()):
            assert time.monotonic() < deadline, self.output
            assert self.process.poll() is None, self.output
            time.sleep(0.05)
        return result

    def wait_for_text(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        found: re.Match[str] = self.wait_for(lambda: re.search(pattern, self.output), timeout_s)
        return found

    def stop(self, number: signal.Signals = signal.SIGINT, timeout_s: float = 60.0) -> int:
        """The exit code after the signal."""
        self.process.send_signal(number)
        return self.end(timeout_s)

    def end(self, timeout_s: float = 60.0) -> int:
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))


@dataclass
class Place:
    """An installation and the programs that a test runs in it."""

    installation: Installation
    port: int = field(default_factory=free_port)
    programs: list[Program] = field(default_factory=list)

    @property
    def data_dir(self) -> Path:
        return self.installation.data_dir

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def run(self, *command: str | Path) -> Program:
        program = Program(command, self.installation.env)
        self.programs.append(program)
        return program

    def manage(self, *arguments: str | Path) -> Program:
        return self.run(PROJECT / "manage.py", *arguments)

    def serve(self, *arguments: str) -> Program:
        """Return once the web server answers."""
        serving = self.manage("serve", "--port", str(self.port), *arguments)
        serving.wait_for_text(f"Listening at {re.escape(self.url)}")
        return serving

    def queue(self, document: dict[str, Any], *arguments: str) -> Program:
        return self.manage("run_task", "--queue", self.installation.task_file(document), *arguments)

    def child(self, name: str) -> int:
        """Process number of a running child of `serve`, told by its command line; 0 if none."""
        mark = {"redis": "valkey-server", "web": "daphne", "worker": "manage.py worker"}[name]
        for child in psutil.Process(self.programs[0].process.pid).children():
            with suppress(psutil.Error):
                if mark in " ".join(child.cmdline()):
                    return child.pid
        return 0

    def has_nothing_left(self) -> None:
        assert [" ".join(one.cmdline()) for one in self.installation.processes()] == []
        assert not (self.data_dir / "serve.lock").exists()
        assert not (self.data_dir / "redis.sock").exists()


@pytest.fixture
def one_configuration(task_document: dict[str, Any]) -> dict[str, Any]:
    """One experiment and no baseline, on one thread: beside three programs that start."""
    task_document["parameters"] = {"threads": 1, "parallel": [2], "ctx-size": 2048}
    task_document["optimization"]["baseline"] = False
    return task_document


@pytest.fixture
def place(installation: Installation) -> Iterator[Place]:
    installation.env.pop("REDIS_URL", None)
    place = Place(installation)
    yield place
    for program in place.programs:
        if program.process.poll() is None:
            program.stop(signal.SIGTERM)
