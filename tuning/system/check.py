"""What a check is, and how one is made that neither hangs nor crashes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from django.db import connections

TIME_LIMIT_S = 3.0


class CheckState(StrEnum):
    """`MISSING` is what the settings need and do not get; `WARNING` is what one can do without."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """What a check found. `hint` says how to mend it; empty where nothing has to be mended."""

    state: CheckState
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class Check:
    """A finding with its name, as it is shown."""

    group: str
    name: str
    state: CheckState
    detail: str
    hint: str


@dataclass(frozen=True)
class Probe:
    """One thing to look at. `run` must change nothing; it may raise and may be slow.

    `needed` decides what it means when `run` gives no answer: missing, or only a warning.
    """

    name: str
    run: Callable[[], Finding]
    needed: bool = False


def ok(detail: str) -> Finding:
    return Finding(CheckState.OK, detail)


def warning(detail: str, hint: str = "") -> Finding:
    return Finding(CheckState.WARNING, detail, hint)


def missing(detail: str, hint: str) -> Finding:
    return Finding(CheckState.MISSING, detail, hint)


class Attempt:
    """A probe under way, in a thread of its own.

    A thread can't be stopped, only left alone: as a daemon it does not keep the process alive.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._finding: Finding | None = None
        self._deadline = time.monotonic() + TIME_LIMIT_S
        self._thread = threading.Thread(target=self._run, name=f"check {probe.name}", daemon=True)
        self._thread.start()

    def finding(self) -> Finding:
        """What the probe found, or that it found nothing in time."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        return self._finding or self._nothing(f"no answer within {TIME_LIMIT_S:g} s")

    def _run(self) -> None:
        try:
            self._finding = self._probe.run()
        except Exception as error:
            # One line: a traceback in a table helps nobody.
            text = " ".join(str(error).split())
            self._finding = self._nothing(f"{type(error).__name__}: {text}")
        finally:
            connections.close_all()

    def _nothing(self, detail: str) -> Finding:
        state = CheckState.MISSING if self._probe.needed else CheckState.WARNING
        return Finding(state, detail, f"Look up '{self._probe.name}' in docs/DOCTOR.md.")
