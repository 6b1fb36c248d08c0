"""A worker may be killed anywhere; the task goes on, and nothing is lost, doubled or left over."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.chaos.conftest import Cluster, assert_measured_once
from tests.chaos.faulty_worker import BOUNDARIES, KILLED_ATTEMPTS
from tests.services import Child, wait_until
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task

pytestmark = [pytest.mark.slow, pytest.mark.alone]


KILLS_AT_EACH_BOUNDARY = 3


@pytest.mark.timeout(600)
def test_three_kills_at_each_boundary(
    cluster: Cluster, queue_task: Callable[..., Task], tmp_path: Path
) -> None:
    experiments = KILLS_AT_EACH_BOUNDARY * len(BOUNDARIES) // KILLED_ATTEMPTS
    task = queue_task(
        parameters={"parallel": [1, 2, 3, 4]}, optimization={"max_iterations": experiments - 1}
    )
    tally = tmp_path / "kills"
    with KeptAlive(lambda: cluster.start_faulty_worker(tally)):
        cluster.wait_for_end_of(task, within_s=540)
    assert task.state is TaskStatus.COMPLETED
    assert task.experiments.count() == experiments
    assert_measured_once(task)
    kills = Counter(tally.read_text().splitlines())
    assert kills == dict.fromkeys(BOUNDARIES, KILLS_AT_EACH_BOUNDARY)
    # Each attempt that was killed was one more launch, and nothing else was.
    assert {one.attempt for one in task.experiments.all()} == {KILLED_ATTEMPTS + 1}


def test_a_configuration_that_loses_its_worker_again_and_again_is_given_up(
    cluster: Cluster, queue_task: Callable[..., Task], tmp_path: Path
) -> None:
    task = queue_task(optimization={"baseline": False})
    for attempt in range(1, 4):
        worker = cluster.start_worker()
        measuring = task.experiments.filter(attempt=attempt, status="BENCHMARKING")
        wait_until(measuring.exists, f"attempt {attempt}", 60)
        kill_with_children(worker.pid)
    cluster.start_worker()
    cluster.wait_for_end_of(task)
    experiment = task.experiments.get()
    assert (experiment.status, experiment.failure_kind) == ("FAILED", "lost_worker")
    assert experiment.attempt == 3
    assert task.state is TaskStatus.FAILED


class KeptAlive:
    """Starts a process again whenever it has died, as a service manager does."""

    def __init__(self, start: Callable[[], Child]) -> None:
        self._start = start
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        child = self._start()
        while not self._done.wait(0.1):
            if not child.is_alive:
                child = self._start()


def kill_with_children(pid: int) -> None:
    parent = psutil.Process(pid)
    # The pool's processes, not the engines: those must survive, to be found and removed.
    pool = [child for child in parent.children() if "celery" in " ".join(child.cmdline())]
    for process in [parent, *pool]:
        process.kill()
    psutil.wait_procs([parent, *pool], timeout=10)
