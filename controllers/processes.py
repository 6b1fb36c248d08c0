"""Processes and process groups: starting, watching and ending them without hitting a stranger.

The number of a process, and of its group, may be given to somebody else once the process is gone
and reaped. So a child is not reaped before its whole group has ended (until then the kernel keeps
the number for us), and a process that is not our child is only trusted together with its start
time or with the mark in its environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from controllers.process_output import OutputReader

MARK = "AUTOTUNER_ENGINE"
"""Environment variable that names the deployment a process belongs to."""
POLL_S = 0.01
FORCE_S = 5.0
"""How long a killed process may take to disappear (a large one has much memory to give back)."""
START_TIME_TOLERANCE_S = 2.0
"""psutil derives start times from the system clock, which may be adjusted in between."""

FindProcesses = Callable[[], list[psutil.Process]]


class ChildProcess:
    """A child in a session and process group of its own, with its output followed."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path | None,
        sink: Callable[[str], None],
    ) -> None:
        """Start it.

        Raises:
            OSError: the program can't be run.
        """
        read_end, write_end = os.pipe()
        try:
            self._popen = subprocess.Popen(
                argv,
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.pid = self._popen.pid
        self.output = OutputReader(read_end, lambda: not self.is_running(), sink)

    @property
    def start_time(self) -> float:
        """When it started, in seconds since the epoch."""
        return float(psutil.Process(self.pid).create_time())

    def is_running(self) -> bool:
        """Whether the process itself (not one of its children) still runs. Does not reap it."""
        if self._popen.returncode is not None:
            return False
        try:
            seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return seen is None

    @property
    def exit_code(self) -> int | None:
        """Once it has ended: its code, negative for a signal, None when nobody knows."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        try:
            seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        if seen is None:
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def end(self, polite_s: float) -> bool:
        """End the whole group and reap; False when a process of it withstood even SIGKILL."""
        if self._popen.returncode is not None:
            return True
        ended = end_processes(lambda: group_members(self.pid), polite_s)
        if ended:
            self._popen.wait()
        self.output.join(timeout_s=2.0)
        return ended


def end_processes(find: FindProcesses, polite_s: float) -> bool:
    """SIGTERM what `find` finds, and SIGKILL what is left after `polite_s` seconds.

    `find` is asked again and again, so that children forked meanwhile go too. Returns whether
    nothing is left.
    """
    left = _signal_until_gone(find, signal.SIGTERM, polite_s)
    return not left or not _signal_until_gone(lambda: [*left, *find()], signal.SIGKILL, FORCE_S)


def _signal_until_gone(
    find: FindProcesses, number: signal.Signals, patience_s: float
) -> set[psutil.Process]:
    """What is left after `patience_s` seconds."""
    told: set[psutil.Process] = set()
    deadline = time.monotonic() + patience_s
    # What was told stays under watch: once a leader is gone, its group can't be found any more.
    while left := {process for process in (*told, *find()) if is_alive(process)}:
        for process in left - told:
            # psutil compares the start time first, so a number given away meanwhile is safe.
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        told |= left
        if time.monotonic() >= deadline:
            break
        time.sleep(POLL_S)
    return left


def group_members(group: int) -> list[psutil.Process]:
    """The living processes of a process group; zombies have nothing left to end."""
    members = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and is_alive(process := psutil.Process(pid)):
                members.append(process)
        except (OSError, psutil.Error):
            continue
    return members


def listens(group: int, port: int) -> bool:
    """Whether a process of the group listens on TCP `port`."""
    for process in group_members(group):
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: not gone, not a zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def process_started_at(pid: int, start_time: float) -> psutil.Process | None:
    """The process `pid`, unless it is gone or the number has been given to another one."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - start_time) <= START_TIME_TOLERANCE_S
    except psutil.Error:
        return None
    return process if same and is_alive(process) else None


def marked_processes(belongs: Callable[[str], bool]) -> dict[str, list[psutil.Process]]:
    """This user's living processes whose mark `belongs` accepts, by mark.

    An engine that rewrites its own title (as vLLM's workers do) may destroy the mark; it is the
    second way to find a process, beside the record of its leader.
    """
    found: dict[str, list[psutil.Process]] = {}
    for process in _own_processes():
        try:
            mark = process.environ().get(MARK)
        except (OSError, psutil.Error):
            continue
        if mark and belongs(mark) and is_alive(process):
            found.setdefault(mark, []).append(process)
    return found


def _own_processes() -> Iterable[psutil.Process]:
    user = os.getuid()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.uids().real == user:
                yield process
