"""One supervised program: started, watched, restarted after a pause that grows, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controllers.processes import POLL_S, ChildProcess
from tuning.serving.services import Service

LAST_LINES = 10
GROUP_POLITE_S = 2.0
"""How long the children of a program that has ended itself may take to follow it."""


class ServiceBroken(Exception):
    """Raised with a sentence for the user: the program never came up."""


@dataclass(frozen=True)
class RestartPolicy:
    """The pause before a restart doubles with each death, and begins anew after good health.

    A program that has not been ready even once after `attempts_to_start` launches is given up:
    what is wrong then (a missing module, a bad setting) does not pass by waiting.
    """

    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    healthy_after_s: float = 60.0
    start_timeout_s: float = 60.0
    attempts_to_start: int = 3


class Unit:
    """Looks after one service. `look` never waits; `stop` waits until the program has ended.

    `say` is given lines for the user, `pass_on` the program's own lines (from another thread).
    """

    def __init__(
        self,
        service: Service,
        policy: RestartPolicy,
        say: Callable[[str], None],
        pass_on: Callable[[str], None],
    ) -> None:
        self.service = service
        self.has_been_ready = False
        self._policy = policy
        self._say = say
        self._show = pass_on
        self._child: ChildProcess | None = None
        self._is_ready = False
        self._launches = 0
        self._launched_at = 0.0
        self._launch_at = 0.0
        self._pause_s = policy.first_pause_s

    @property
    def process(self) -> tuple[int, float] | None:
        """Process number and start time (seconds since the epoch), while it is there."""
        return None if self._child is None else (self._child.pid, self._child.start_time)

    def look(self) -> bool:
        """See to the program; True when it was launched or has died.

        Raises:
            ServiceBroken: it died, or was not ready, once too often before it ever was.
        """
        if self._child is None:
            return time.monotonic() >= self._launch_at and self._launch()
        if not self._child.is_running():
            self._bury(self._child, f"{self.service.name} {_ending(self._child.exit_code)}.")
            return True
        if not self._is_ready:
            return self._wait_until_ready(self._child)
        return False

    def stop(self) -> None:
        """Tell the program to end, wait `patience_s`, then kill it with all of its group."""
        child, self._child = self._child, None
        if child is not None:
            self._end(child)
        for path in self.service.files:
            path.unlink(missing_ok=True)

    def _end(self, child: ChildProcess) -> None:
        if _ends_when_told(child, self.service.patience_s):
            child.end(GROUP_POLITE_S)
            return
        limit = f"{self.service.patience_s:g} s"
        self._say(f"{self.service.name} did not stop within {limit} and is killed.")
        child.end(polite_s=0.0)

    def _launch(self) -> bool:
        self._launches += 1
        self._launched_at = time.monotonic()
        self._is_ready = False
        command = self.service.command
        try:
            self._child = ChildProcess(command, self.service.environment, _PROJECT, self._pass_on)
        except OSError as error:
            raise ServiceBroken(
                f"{self.service.name} can't be started: {command[0]}: {error.strerror}."
            ) from error
        return True

    def _pass_on(self, line: str) -> None:
        if not any(text in line for text in self.service.noise):
            self._show(line)

    def _wait_until_ready(self, child: ChildProcess) -> bool:
        if self.service.ready():
            self._is_ready = True
            if not self.has_been_ready and self.service.announcement:
                self._say(self.service.announcement)
            elif self.has_been_ready:
                self._say(f"{self.service.name} runs again.")
            self.has_been_ready = True
        elif time.monotonic() - self._launched_at > self._policy.start_timeout_s:
            limit = f"{self._policy.start_timeout_s:g} s"
            self._bury(child, f"{self.service.name} did not answer within {limit}.")
            return True
        return False

    def _bury(self, child: ChildProcess, what_happened: str) -> None:
        self._child = None
        # Also reaps it, ends what it has started itself, and waits for its last lines.
        child.end(GROUP_POLITE_S)
        last_words = "".join(f"\n    {line}" for line in child.output.lines(LAST_LINES))
        report = f"{what_happened} Its last lines:{last_words or ' none.'}"
        if not self.has_been_ready and self._launches >= self._policy.attempts_to_start:
            raise ServiceBroken(report)
        if time.monotonic() - self._launched_at >= self._policy.healthy_after_s:
            self._pause_s = self._policy.first_pause_s
        self._launch_at = time.monotonic() + self._pause_s
        self._say(f"{report}\n{self.service.name} is started again in {self._pause_s:g} s.")
        self._pause_s = min(self._pause_s * 2, self._policy.longest_pause_s)


_PROJECT = Path(__file__).resolve().parents[2]
"""Where Python finds `autotuner_site`, wherever the command was called from."""


def _ends_when_told(child: ChildProcess, patience_s: float) -> bool:
    # Only the program itself: a worker's children must not be torn out of its hands. The number
    # is still its own, because nobody has reaped it.
    with contextlib.suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while child.is_running():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "is gone"
    if exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended by itself with exit code {exit_code}"
