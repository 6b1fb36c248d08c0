"""Workers with a short lease that tune in the test cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.cluster.cluster import Cluster
from tests.cluster.installation import Document, environment_for, nothing_left
from tests.services import Child, Installation, database_of, running_redis, wait_until
from tuning.domain.spec import parse_task
from tuning.models import Task
from tuning.orchestrator.control import submit

LEASE_S = 3
"""A twentieth of the product's; heartbeat, sweep and giving up keep their proportion to it."""


@dataclass
class Workers:
    """Over one database and one broker."""

    installation: Installation

    def start(self) -> Child:
        celery = ("-m", "celery", "-A", "autotuner_site", "worker", "--loglevel=WARNING")
        return self.installation.start("worker", *celery, "--concurrency=2")

    def queue(self, document: Document) -> Task:
        """Store a task for them; no bell is rung: the sweep has to find it."""
        return submit(parse_task(document), time_limit_s=600)

    def wait_for_end_of(self, task: Task) -> Task:
        def ended() -> bool:
            task.refresh_from_db()
            return task.state.is_terminal

        wait_until(ended, f"the end of the task\n{self.output()}", 120)
        return task

    def wait_until_measuring(self, task: Task, attempt: int = 1) -> None:
        running = task.experiments.filter(status="BENCHMARKING", attempt=attempt)
        wait_until(running.exists, f"measuring\n{self.output()}", 90)

    def output(self) -> str:
        return "\n".join(child.output() for child in self.installation.children)


@pytest.fixture
def workers(
    cluster: Cluster, namespace: str, tokenizers: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[Workers]:
    """This process's Django reads and writes the workers' database."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as data_dir, running_redis() as redis:
        variables = environment_for(cluster) | {
            "AUTOTUNER_INSTANCE": f"w{os.getpid()}",
            "AUTOTUNER_LEASE_S": str(LEASE_S),
        }
        ours = {name: text for name, text in variables.items() if name.startswith("AUTOTUNER_")}
        installation = Installation.create(Path(data_dir), redis.url, **ours)
        (Path(data_dir) / "tokenizers").symlink_to(tokenizers)
        installation.migrate()
        with (
            nothing_left(cluster, namespace),
            django_db_blocker.unblock(),
            database_of(installation),
            override_settings(AUTOTUNER_LEASE_S=LEASE_S),
        ):
            try:
                yield Workers(installation)
            finally:
                installation.stop_all()
