"""Which port an engine may listen on.

Three guards together: a lock file for each port, held as long as the engine lives, so that no two
processes of one installation choose the same port; a name that the kernel keeps for whoever has
bound it, so that no two installations do, each of which has lock files of its own; and a test
whether the port can be bound, so that one taken by anybody else is skipped. An engine binds its
port seconds after it was chosen: the test alone would give one port to two of them.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from controllers.base import DeploymentError
from tuning.domain.failures import FailureKind

LOOPBACK = "127.0.0.1"
DEFAULT_RANGE = (8000, 8100)


class PortLease:
    """The right to use one port until `release`, or until this process ends.

    The kernel drops the lock with the process, so a crash leaves nothing to clean up.
    """

    def __init__(self, port: int, guards: ExitStack) -> None:
        self.port = port
        self._guards = guards

    def release(self) -> None:
        """Give the port back. Calling it twice is no error."""
        self._guards.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def lease_port(locks_dir: Path, port_range: tuple[int, int] = DEFAULT_RANGE) -> PortLease:
    """The lowest free port from the first to the last of `port_range`, on loopback.

    Raises:
        DeploymentError: PORT_TAKEN, when none is free.
    """
    locks_dir.mkdir(parents=True, exist_ok=True)
    first, last = port_range
    for port in range(first, last + 1):
        with ExitStack() as guards:
            if (
                _lock(locks_dir / f"{port}.lock", guards)
                and _claim_name(port, guards)
                and can_bind(port)
            ):
                return PortLease(port, guards.pop_all())
    raise DeploymentError(
        FailureKind.PORT_TAKEN, f"No port from {first} to {last} is free on {LOOPBACK}."
    )


def can_bind(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier engine in TIME_WAIT don't make a port taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _lock(path: Path, guards: ExitStack) -> bool:
    """Lock `path` until `guards` are closed; False when somebody else has.

    Lock files are never deleted: whoever locks a deleted file locks nothing.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    guards.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _claim_name(port: int, guards: ExitStack) -> bool:
    """Bind the port's name until `guards` are closed; False when somebody else has.

    Linux keeps names that begin with a zero byte in no directory and by network namespace, as
    ports are (unix(7), "Abstract sockets"). Elsewhere this guard is missing.
    """
    if sys.platform != "linux":
        return True
    name = guards.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    try:
        name.bind(f"\0inference-autotuner/port/{port}")
    except OSError:
        return False
    return True
