"""A child process in a group of its own, with a thread that reads its output."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PATIENCE_S = 2.0
"""How long to wait for what SIGKILL and the end of a pipe bring about in milliseconds."""


class Child:
    """A running command. `on_line` gets each line of its output, without newline, from a thread.

    Its methods may be called from any thread.

    Raises:
        OSError: the command could not be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        on_line: Callable[[str], None],
    ) -> None:
        self._process = subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
        self._on_line = on_line
        self._reader = threading.Thread(target=self._read, name="genai-bench output", daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number where one ended it."""
        return self._process.poll()

    def tell(self, line: str) -> None:
        """Send one line to its standard input."""
        assert self._process.stdin
        # It may have died, or have been killed.
        with suppress(OSError, ValueError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """End the group, also what outlived its leader, and read the output to its end.

        Killing twice is no error. The group's id is not taken by others while a member is left;
        with none left there is nobody to hit, because ids are handed out in turn.
        """
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_S)
        self._reader.join(_PATIENCE_S)
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self._on_line(line.rstrip("\n"))
