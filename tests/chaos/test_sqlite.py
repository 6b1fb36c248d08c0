"""SQLite under eight writing processes: WAL, IMMEDIATE transactions and a busy timeout suffice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.conftest import Cluster
from tuning.models import LogChunk, Task

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PROCESSES = 8
SECONDS = 20.0


def test_eight_writers_never_find_the_database_locked(
    cluster: Cluster, queue_task: Callable[..., Task]
) -> None:
    task = queue_task()
    writers = [
        cluster.installation.start(
            "writer", "-m", "tests.chaos.row_writer", str(task.pk), str(SECONDS)
        )
        for _ in range(PROCESSES)
    ]
    for writer in writers:
        assert writer.wait(SECONDS * 3) == 0, writer.output()
    written = sum(int(writer.output()) for writer in writers)
    assert written > 0
    assert LogChunk.objects.filter(task=task).count() == written
