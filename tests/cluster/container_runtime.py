"""The processes of one container: the first one, all that come of it, and what they print."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from tests.cluster.api import Document
from tests.cluster.container_process import NOT_STARTED
from tests.cluster.pod_log import PodLog

POD_MARK = "FAKE_POD_UID"
CONTAINER_MARK = "FAKE_POD_CONTAINER"
"""Variables by which the processes of a pod are known, whatever group they moved to."""

_PROCESS = Path(__file__).with_name("container_process.py")
_LONGEST_LINE = 1 << 24
_MEMORY_LOOK_EVERY_S = 0.05
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "K": 10**3, "M": 10**6, "G": 10**9}


@dataclass
class ContainerProcesses:
    """Started; `killed_for_memory` once they took more than they may. After the end, `start_error`
    says why the program could not be started, where that is so."""

    mark: str
    _first: asyncio.subprocess.Process
    _reading: asyncio.Task[str]
    killed_for_memory: bool = False
    start_error: str = ""

    @classmethod
    async def start(cls, config: Document, uid: str, name: str, log: PodLog) -> Self:
        """`config` is that of `container_process.py`."""
        mark = f"{uid}/{name}"
        marks = {POD_MARK: uid, CONTAINER_MARK: mark}
        config = {**config, "environment": {**config["environment"], **marks}}
        # A pipe of our own: asyncio's tells of an end only when nobody holds the pipe any more.
        ours, theirs = os.pipe()
        try:
            first = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_PROCESS), json.dumps(config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env={**os.environ, **marks},
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return cls(mark, first, asyncio.create_task(_read(ours, log)))

    @property
    def is_running(self) -> bool:
        return self._first.returncode is None

    async def ended(self) -> int:
        """The exit code as a shell tells it, once the first process has ended and been read.

        All the others end with it, as in a container.
        """
        code = await self._first.wait()
        self.kill()
        self.start_error = await self._reading
        return code if code >= 0 else 128 - code

    async def stop(self, grace_s: float) -> None:
        """SIGTERM to the first process, time to end, then SIGKILL to all."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._first.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._first.wait(), max(grace_s, 0.01))
        self.kill()
        await self._first.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._first.pid, signal.SIGKILL)
        for process in marked(CONTAINER_MARK, self.mark):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    async def watch_memory(self, limit: str | None) -> None:
        """In the kernel's place: who takes more than the limit is killed."""
        if limit is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._first.pid)
            while True:
                family = [first, *first.children(recursive=True)]
                if sum(one.memory_info().rss for one in family) > bytes_of(limit):
                    self.killed_for_memory = True
                    self.kill()
                    return
                await asyncio.sleep(_MEMORY_LOOK_EVERY_S)


async def _read(pipe: int, log: PodLog) -> str:
    """Everything goes to the log but why there was no start, which is returned."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        async for line in reader:
            text = line.decode(errors="replace").rstrip("\n")
            if text.startswith(NOT_STARTED):
                return text.removeprefix(NOT_STARTED)
            log.add(text)
        return ""
    finally:
        transport.close()


def marked(variable: str, value: str) -> list[psutil.Process]:
    """The processes of this host with a mark, the dead ones left out."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(variable) == value and process.status() != "zombie":
                found.append(process)
    return found


def bytes_of(quantity: str) -> int:
    """Of a quantity of memory as Kubernetes writes it."""
    for unit, factor in _UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor)
    return int(float(quantity))
