"""Writes rows as fast as it can: `python -m tests.chaos.row_writer TASK SECONDS` counts them."""

from __future__ import annotations

import sys
import time


def write_for(task_id: int, seconds: float) -> int:
    """Read and write in one transaction after another, as workers do; how many there were."""
    from django.db import transaction
    from django.db.models import Max

    from tuning.models import LogChunk

    written = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with transaction.atomic():
            last = LogChunk.objects.filter(task_id=task_id).aggregate(n=Max("last_seq"))["n"] or 0
            LogChunk.objects.create(
                task_id=task_id, first_seq=last + 1, last_seq=last + 1, lines=[[0, "engine", "x"]]
            )
        written += 1
    return written


if __name__ == "__main__":
    import django

    django.setup()
    sys.stdout.write(str(write_for(int(sys.argv[1]), float(sys.argv[2]))))
