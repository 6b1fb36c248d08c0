"""From the engine to an open page: does every log line arrive, and how late?

    python -m benchmarks.logs [seconds] [lines per second]

A process writes a task's log as a worker does; a real web server (daphne), a Redis-compatible
server and SQLite carry it to a websocket that loses its connection three times. The delay of a
line is from the moment it was logged to the moment the reader has its message, and thus holds the
wait for the next insert of up to 0.5 s. Exit status 1 unless every line came once and in order.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.realtime.sockets import Browser, LogReader
    from tests.services import Installation

GOAL_P95_S = 1.0
RECONNECTS = 3
LONGEST_DELAY_S = 30.0


def main(seconds: float, lines_per_s: float) -> int:
    with tempfile.TemporaryDirectory(prefix="autotuner-logs-") as scratch:
        os.environ["AUTOTUNER_DATA_DIR"] = scratch
        os.environ["DJANGO_SETTINGS_MODULE"] = "autotuner_site.settings"
        import django

        django.setup()
        lines = int(seconds * lines_per_s)
        return report(measure(Path(scratch), lines, lines_per_s), lines)


def measure(data_dir: Path, lines: int, lines_per_s: float) -> LogReader:
    from tests.services import Installation, running_redis
    from tuning.database import prepare_database

    prepare_database()
    with running_redis() as redis:
        installation = Installation.create(data_dir, redis.url)
        try:
            _, address = installation.start_web()
            return follow(installation, address, lines, lines_per_s)
        finally:
            installation.stop_all()


def follow(installation: Installation, address: str, lines: int, lines_per_s: float) -> LogReader:
    """Start a writer and read along."""
    from tests.realtime.sockets import LogReader

    browser, task_id = signed_in(address)
    arguments = [str(task_id), str(lines), str(lines_per_s)]
    installation.start("writer", "-m", "tests.realtime.log_writer", *arguments)
    breaks = [lines * number // (RECONNECTS + 1) for number in range(1, RECONNECTS + 1)]
    reader = LogReader(browser, task_id)
    reader.read(lines, lines / lines_per_s + LONGEST_DELAY_S, reconnect_after=breaks)
    return reader


def signed_in(address: str) -> tuple[Browser, int]:
    """Somebody's browser, and a task of theirs."""
    from django.contrib.auth.models import User

    from tests.conftest import SMALL_TASK
    from tests.realtime.sockets import Browser
    from tests.services import session_cookie
    from tuning.domain.spec import parse_task
    from tuning.orchestrator.control import submit

    user = User.objects.create_user("reader")
    return Browser(address, session_cookie(user)), submit(parse_task(SMALL_TASK), owner=user).pk


def report(reader: LogReader, lines: int) -> int:
    """Print what was measured; the exit status."""
    took_s = reader.last_arrived - reader.first_written
    complete = len(reader.sequence) == lines and reader.has_every_line_once_and_in_order
    percentiles = statistics.quantiles(reader.delays_s, n=100)
    p95_s = percentiles[94]
    print(f"lines        {len(reader.sequence)} of {lines}, {reader.reconnects} reconnects")
    print(f"complete     {'every line once and in order' if complete else 'NO'}")
    print(f"rate         {lines / took_s:.0f} lines/s from the first line to the last")
    print(
        f"delay        p50 {percentiles[49]:.3f} s   p95 {p95_s:.3f} s   "
        f"max {max(reader.delays_s):.3f} s"
    )
    print(f"ratio of p95 to the goal of {GOAL_P95_S:.0f} s: {p95_s / GOAL_P95_S:.2f} (at most 1)")
    return 0 if complete else 1


if __name__ == "__main__":
    given = [float(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [20.0, 2000.0][len(given) :])))
