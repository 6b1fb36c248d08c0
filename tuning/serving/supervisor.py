"""Keeps a list of services running until this process is asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

from tuning.serving.services import Service
from tuning.serving.unit import RestartPolicy, Unit

LOOK_INTERVAL_S = 0.1
"""A look costs one system call for each program."""
OWN_NAME = "serve"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP: the terminal was closed. The programs have sessions of their own and would stay."""

ProcessList = list[tuple[int, float]]


class Supervisor:
    """Starts services one after the other, restarts what dies, stops all in reverse order.

    Each runs in a session and process group of its own, so that Ctrl-C in the terminal reaches
    this process alone, and the order in which they stop is ours. `record` is told the processes
    (number and start time) each time one is launched or has died.
    """

    def __init__(
        self,
        services: Sequence[Service],
        console: Console,
        record: Callable[[ProcessList], None] = lambda processes: None,
        policy: RestartPolicy | None = None,
    ) -> None:
        self._console = console
        self._record = record
        self._units = [
            Unit(service, policy or RestartPolicy(), self.say, console.writer(service.name))
            for service in services
        ]
        self._stop = threading.Event()

    def run(self) -> None:
        """Return when SIGINT, SIGTERM or SIGHUP was received and every service has ended.

        Raises:
            ServiceBroken: one of them did not come up; every other one has been stopped.
        """
        with self._signals():
            try:
                while not self._stop.is_set():
                    self._look()
                    self._stop.wait(LOOK_INTERVAL_S)
            finally:
                self._stop_all()

    def say(self, text: str) -> None:
        self._console.write(OWN_NAME, text)

    def _look(self) -> None:
        for unit in self._units:
            if unit.look():
                self._record([unit.process for unit in self._units if unit.process])
            if not unit.has_been_ready:
                # The next ones wait for this one.
                return

    def _stop_all(self) -> None:
        self.say("Stopping. Running experiments go back to the queue; this may take some seconds.")
        for unit in reversed(self._units):
            unit.stop()
        self.say("Everything has stopped.")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        # A second signal changes nothing: everything is being stopped already, and each program
        # has a limited time for it.
        previous = {number: signal.signal(number, self._on_signal) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()


class Console:
    """Lines of several programs on one stream, each with the name of its program before it."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._lock = threading.Lock()

    def writer(self, name: str) -> Callable[[str], None]:
        return lambda text: self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Called from several threads."""
        lines = "".join(f"{name:<{self._width}} | {line}\n" for line in text.splitlines())
        with self._lock:
            try:
                self._stream.write(lines)
                self._stream.flush()
            except (OSError, ValueError):
                # The reader of our output has gone. The programs go on, and so do we.
                return
