"""The broker only rings: it may lose, repeat and forget."""

from __future__ import annotations

import signal
from collections.abc import Callable

import psutil
import pytest

from tests.chaos.conftest import Cluster, assert_measured_once
from tests.services import wait_until
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task
from tuning.orchestrator.advance import advance

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_a_task_finishes_although_redis_forgets_everything_and_restarts(
    cluster: Cluster, queue_task: Callable[..., Task]
) -> None:
    task = queue_task()
    cluster.start_worker()
    wait_until(lambda: task.experiments.filter(status="BENCHMARKING").exists(), "measuring", 60)
    cluster.redis.flush()
    cluster.redis.kill()
    cluster.redis.start()
    assert cluster.wait_for_end_of(task).state is TaskStatus.COMPLETED
    assert_measured_once(task)
    assert [one.attempt for one in task.experiments.all()] == [1, 1]


def test_one_message_delivered_five_times_at_once_is_one_attempt(
    cluster: Cluster, queue_task: Callable[..., Task]
) -> None:
    task = queue_task(optimization={"baseline": False})
    (experiment_id,) = advance(task.pk).ready
    for _ in range(5):
        send(cluster, "tuning.run_experiment", experiment_id)
    cluster.start_worker(concurrency=5)
    cluster.start_worker(concurrency=2)
    assert cluster.wait_for_end_of(task).state is TaskStatus.COMPLETED
    assert_measured_once(task)
    assert task.experiments.get().attempt == 1


def test_a_worker_that_freezes_loses_its_lease_and_records_nothing_more(
    cluster: Cluster, queue_task: Callable[..., Task]
) -> None:
    task = queue_task(
        optimization={"baseline": False}, benchmark={"max_requests_per_iteration": 60}
    )
    frozen = cluster.start_worker()
    wait_until(lambda: task.experiments.filter(status="BENCHMARKING").exists(), "measuring", 60)
    stopped = freeze(frozen.pid)
    cluster.start_worker()
    try:
        wait_until(lambda: task.experiments.filter(attempt=2).exists(), "another worker", 60)
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
    assert cluster.wait_for_end_of(task).state is TaskStatus.COMPLETED
    assert_measured_once(task)
    assert task.experiments.get().attempt == 2


def send(cluster: Cluster, job: str, number: int) -> None:
    """Put a message on the cluster's own queue, as its web server would."""
    child = cluster.installation.start(
        "send",
        "-c",
        "import django; django.setup(); from autotuner_site.celery import app; "
        f"app.send_task({job!r}, args=[{number}])",
    )
    assert child.wait() == 0, child.output()


def freeze(pid: int) -> list[psutil.Process]:
    """Stop a worker and its pool, but not the engine and the benchmark it started."""
    parent = psutil.Process(pid)
    processes = [
        parent,
        *(child for child in parent.children() if "celery" in " ".join(child.cmdline())),
    ]
    for process in processes:
        process.suspend()
    return processes
