"""Which port an engine may listen on.

Two guards together: a lock file for each port, held as long as the engine lives, so that no two
processes of this user ever choose the same port; and a test whether the port can be bound, so that
one taken by anybody else is skipped.
"""

from __future__ import annotations

import fcntl
import os
import socket
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

    def __init__(self, port: int, lock: int) -> None:
        self.port = port
        self._lock: int | None = lock

    def release(self) -> None:
        """Give the port back. Calling it twice is no error."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

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
        lock = _try_lock(locks_dir / f"{port}.lock")
        if lock is None:
            continue
        if can_bind(port):
            return PortLease(port, lock)
        os.close(lock)
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


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock of `path`, or None when somebody else does.

    Lock files are never deleted: whoever locks a deleted file locks nothing.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
