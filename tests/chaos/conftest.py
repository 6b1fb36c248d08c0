"""An installation with real workers and a real Redis-compatible server, made to fail on purpose."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from controllers.processes import MARK
from tests.services import Child, Installation, RedisServer, database_of, running_redis, wait_until
from tuning.domain.spec import parse_task
from tuning.models import Experiment, Lease, Measurement, Task, WorkerHeartbeat
from tuning.orchestrator.control import submit

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORT_RANGE = f"{8501 + 40 * WORKER}-{8540 + 40 * WORKER}"
"""Of this process of pytest-xdist alone, as the instance is."""
INSTANCE = f"chaos{WORKER}"
LEASE_S = 6
"""A tenth of the product's; heartbeat, sweep and giving up keep their proportion to it."""
FINISHED_WITHIN_S = 120.0


@dataclass
class Cluster:
    """Workers over one database and one broker."""

    installation: Installation
    redis: RedisServer

    def start_worker(self, concurrency: int = 1) -> Child:
        return self.installation.start(
            "worker",
            *("-m", "celery", "-A", "autotuner_site", "worker", "--loglevel=WARNING"),
            f"--concurrency={concurrency}",
        )

    def start_faulty_worker(self, tally: Path) -> Child:
        return self.installation.start("faulty", "-m", "tests.chaos.faulty_worker", str(tally))

    def engines(self) -> list[psutil.Process]:
        """Processes that bear the mark of this installation's engines."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK, "").startswith(f"autotuner-{INSTANCE}-"):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return [one for one in found if one.is_running()]

    def sweeps_since_now(self, count: int) -> Callable[[], bool]:
        """True once a worker has swept that often since this call, by its own heartbeat."""
        seen = {self._last_beat()}

        def enough() -> bool:
            seen.add(self._last_beat())
            return len(seen) > count

        return enough

    @staticmethod
    def _last_beat() -> datetime | None:
        newest = WorkerHeartbeat.objects.order_by("-heartbeat_at").first()
        return newest.heartbeat_at if newest else None

    def output(self) -> str:
        return "\n".join(child.output() for child in self.installation.children)

    def wait_for_end_of(self, task: Task, within_s: float = FINISHED_WITHIN_S) -> Task:
        def ended() -> bool:
            task.refresh_from_db()
            return task.state.is_terminal

        wait_until(ended, f"the end of task {task.pk}\n{self.output()}", within_s)
        return task


@pytest.fixture
def cluster(
    sample_model: Path, tokenizers: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[Cluster]:
    """This process's Django reads and writes the cluster's database. Afterwards nothing is left."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as data_dir, running_redis() as redis:
        installation = Installation.create(
            Path(data_dir),
            redis.url,
            AUTOTUNER_INSTANCE=INSTANCE,
            AUTOTUNER_LEASE_S=str(LEASE_S),
            AUTOTUNER_MODEL_PATH=str(sample_model.parent),
            AUTOTUNER_PORT_RANGE=PORT_RANGE,
        )
        (Path(data_dir) / "tokenizers").symlink_to(tokenizers)
        installation.migrate()
        running = Cluster(installation, redis)
        with (
            django_db_blocker.unblock(),
            database_of(installation),
            override_settings(
                AUTOTUNER_LEASE_S=LEASE_S,
                AUTOTUNER_LOG_DIR=Path(data_dir) / "logs",
                AUTOTUNER_RESULTS_DIR=Path(data_dir) / "results",
            ),
        ):
            try:
                yield running
                wait_until(lambda: not running.engines(), "the end of every engine", 30)
                assert not Lease.objects.exists()
                assert not Experiment.objects.filter(
                    status__in=["DEPLOYING", "BENCHMARKING"]
                ).exists()
            finally:
                installation.stop_all()
                for engine in running.engines():
                    engine.kill()


@pytest.fixture
def queue_task(cluster: Cluster, task_document: dict[str, Any]) -> Callable[..., Task]:
    """Store the small task for the workers, with some sections changed; no bell is rung: the
    sweep has to find it."""

    def queue(**sections: Any) -> Task:
        task_document.update(parameters={"parallel": [2], "threads": [1, 2], "ctx-size": 2048})
        task_document["optimization"]["max_iterations"] = 1
        task_document["benchmark"]["max_requests_per_iteration"] = 2
        for name, value in sections.items():
            task_document[name].update(value)
        return submit(parse_task(task_document), time_limit_s=600)

    return queue


def assert_measured_once(task: Task) -> None:
    """Every experiment succeeded, and each of its load points was stored once."""
    experiments = list(task.experiments.all())
    assert [one.status for one in experiments] == ["SUCCESS"] * len(experiments)
    points = Measurement.objects.filter(experiment__task=task)
    assert points.count() == len(experiments)
