"""One `serve` on a data directory, and what a killed one left behind."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from controllers.processes import POLL_S, end_processes, group_members, is_alive, process_started_at
from tuning.serving.services import WORKER_PATIENCE_S

GROUP_POLITE_S = 2.0


class AlreadyServing(Exception):
    """Raised with a sentence for the user: another `serve` uses this data directory."""


class ServeLock:
    """A file in the data directory, locked for as long as the `with` block runs.

    The kernel drops the lock with the process, so that a killed `serve` blocks nobody. The file
    holds the numbers and start times of its children; they outlive a killed `serve`, and the next
    one ends them.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / "serve.lock"
        self._descriptor = -1
        self._left_behind: list[tuple[int, float]] = []

    def __enter__(self) -> Self:
        """Raises AlreadyServing."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        while self._descriptor < 0:
            self._descriptor = self._try_to_lock()
        self._left_behind = _processes_in(self._read())
        self.record([])
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._left_behind:
            # While it is still locked: whoever opens the name from now on makes a new file.
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def record(self, processes: list[tuple[int, float]]) -> None:
        """Remember the children (process number, start time in seconds since the epoch)."""
        text = json.dumps({"serve": os.getpid(), "children": [*self._left_behind, *processes]})
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def end_left_behind(self, say: Callable[[str], None]) -> None:
        """End the children of a `serve` that was killed: the last started first, as it would."""
        for pid, start_time in reversed(self._left_behind):
            process = process_started_at(pid, start_time)
            if process is not None:
                say(f"Ending process {pid}, which a killed `serve` left behind.")
                _end_group_of(process)
        self._left_behind = []
        self.record([])

    def _try_to_lock(self) -> int:
        """The descriptor, or -1 when the file was removed under our hands.

        Raises:
            AlreadyServing: somebody else holds the lock.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _document_in(os.pread(descriptor, 1 << 16, 0)).get("serve")
            os.close(descriptor)
            process = f" (process {holder})" if holder else ""
            raise AlreadyServing(
                f"Another `manage.py serve`{process} already runs on {self._data_dir}."
            ) from None
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)
        return -1

    def _read(self) -> bytes:
        return os.pread(self._descriptor, 1 << 16, 0)


def _document_in(raw: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        document = json.loads(raw)
        if isinstance(document, dict):
            return document
    # Empty, or cut off by a crash.
    return {}


def _processes_in(raw: bytes) -> list[tuple[int, float]]:
    return [(int(pid), float(start)) for pid, start in _document_in(raw).get("children", [])]


def _end_group_of(leader: psutil.Process) -> None:
    """Tell the leader alone first: a worker ends its experiments before its own children."""
    members = group_members(leader.pid)
    with suppress(psutil.Error):
        leader.terminate()
    deadline = time.monotonic() + WORKER_PATIENCE_S
    while is_alive(leader) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    end_processes(lambda: [one for one in members if is_alive(one)], GROUP_POLITE_S)
