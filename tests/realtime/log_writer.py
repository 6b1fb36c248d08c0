"""Writes a task's log at a steady rate, as a worker does: `python -m … TASK_ID LINES RATE`."""

from __future__ import annotations

import sys
import time

import django

TICK_S = 0.01


def write(task_id: int, lines: int, lines_per_s: float) -> None:
    """Line `n` has the text `line n` and, like an engine's, some more."""
    from django.conf import settings

    from tuning.domain.names import LogSource
    from tuning.doorbell import announce_log
    from tuning.logs import TaskLog

    def announce(last_seq: int) -> None:
        announce_log(task_id, last_seq)

    with TaskLog(task_id, settings.AUTOTUNER_LOG_DIR, on_stored=announce) as log:
        began, written = time.monotonic(), 0
        while written < lines:
            due = min(lines, int((time.monotonic() - began) * lines_per_s))
            for number in range(written + 1, due + 1):
                log(LogSource.ENGINE, f"line {number} slot 3 | prompt eval 12.34 ms, 56 tokens")
            written = due
            time.sleep(TICK_S)


if __name__ == "__main__":
    django.setup()
    write(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
