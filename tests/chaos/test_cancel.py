"""A cancel from anywhere reaches the engine in every phase."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.conftest import Cluster
from tests.services import wait_until
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Measurement, Task
from tuning.orchestrator.control import pause, request_cancel, resume

pytestmark = [pytest.mark.slow, pytest.mark.alone]

REACHED_WITHIN_S = 15.0


def cancel(cluster: Cluster, task: Task) -> None:
    assert request_cancel(task.pk)
    wait_until(lambda: not cluster.engines(), "the engine's end", REACHED_WITHIN_S)
    assert cluster.wait_for_end_of(task).state is TaskStatus.CANCELLED
    assert not task.experiments.exclude(status__in=["CANCELLED", "SUCCESS"]).exists()


def test_while_it_waits(cluster: Cluster, queue_task: Callable[..., Task]) -> None:
    task = queue_task()
    request_cancel(task.pk)
    cluster.start_worker()
    assert cluster.wait_for_end_of(task).state is TaskStatus.CANCELLED
    assert not task.experiments.exists()


def test_while_the_engine_starts(
    cluster: Cluster, queue_task: Callable[..., Task], tmp_path: Path
) -> None:
    sleeper = tmp_path / "llama-server"
    sleeper.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    sleeper.chmod(0o755)
    cluster.installation.environment["AUTOTUNER_LLAMA_SERVER"] = str(sleeper)
    task = queue_task()
    cluster.start_worker()
    wait_until(cluster.engines, "an engine", 60)
    cancel(cluster, task)


def test_during_the_warm_up(cluster: Cluster, queue_task: Callable[..., Task]) -> None:
    task = queue_task(benchmark={"warmup": 100_000})
    cluster.start_worker()
    wait_until(lambda: task.experiments.filter(status="BENCHMARKING").exists(), "warm-up", 60)
    cancel(cluster, task)


def test_while_measuring_what_was_measured_is_kept(
    cluster: Cluster, queue_task: Callable[..., Task]
) -> None:
    task = queue_task(benchmark={"repeats": 50})
    cluster.start_worker()
    wait_until(lambda: Measurement.objects.filter(experiment__task=task).exists(), "a point", 60)
    cancel(cluster, task)
    assert Measurement.objects.filter(experiment__task=task).exists()


def test_a_paused_task_finishes_what_runs_and_goes_on_when_resumed(
    cluster: Cluster, queue_task: Callable[..., Task]
) -> None:
    task = queue_task()
    cluster.start_worker()
    wait_until(lambda: task.experiments.filter(status="BENCHMARKING").exists(), "measuring", 60)
    assert pause(task.pk)
    wait_until(lambda: task.experiments.filter(status="SUCCESS").exists(), "its end", 60)
    # Longer than two sweeps, each of which would have queued the next experiment.
    wait_until(cluster.sweeps_since_now(2), "two sweeps", 30)
    assert task.experiments.count() == 1
    resume(task.pk)
    assert cluster.wait_for_end_of(task).state is TaskStatus.COMPLETED
    assert task.experiments.count() == 2
