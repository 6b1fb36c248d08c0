"""Installations that deploy into a real Docker engine; no container of theirs may be left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.test import override_settings
from docker import DockerClient
from docker.models.containers import Container
from pytest_django import DjangoDbBlocker

from controllers.docker_engine import INSTANCE_LABEL, docker_address
from tests.controllers.conftest import WORKER
from tests.docker.engine import client, llamacpp_image
from tests.e2e.conftest import Installation as CommandLine
from tests.fake_engine.image import IMAGE, TAG
from tests.services import Child, Installation, database_of, running_redis, wait_until
from tests.serving.conftest import free_port
from tuning.domain.spec import parse_task
from tuning.models import Task, WorkerHeartbeat
from tuning.orchestrator.control import submit

__all__ = ["client", "llamacpp_image"]

Document = dict[str, Any]
MODEL = "small-model"
PORTS = f"{8401 + 40 * WORKER}-{8440 + 40 * WORKER}"
LEASE_S = 3
"""A twentieth of the product's; heartbeat, sweep and giving up keep their proportion to it."""


@dataclass
class Containers:
    """Those of one installation, asked of the engine itself."""

    client: DockerClient
    instance: str

    def all(self) -> list[Container]:
        label = f"{INSTANCE_LABEL}={self.instance}"
        found: list[Container] = self.client.containers.list(
            all=True, filters={"label": label}, ignore_removed=True
        )
        return found

    def wait_for_one(self) -> Container:
        wait_until(self.all, "a container", 60)
        return self.all()[0]

    def wait_for_none(self, within_s: float) -> None:
        wait_until(lambda: not self.all(), "the end of every container", within_s)


@pytest.fixture
def models_dir(tmp_path: Path, tokenizers: Path) -> Path:
    """A model directory for FakeEngine, which reads no weights."""
    (made,) = (path for path in tokenizers.iterdir() if path.is_dir())
    shutil.copytree(made, tmp_path / "models" / MODEL)
    (tmp_path / "models" / f"{MODEL}.gguf").write_bytes(b"GGUF")
    return tmp_path / "models"


@pytest.fixture
def fake_task(models_dir: Path) -> Document:
    """FakeEngine in the place of a llama.cpp server; yours to change."""
    return {
        "task_name": "fake",
        "deployment_mode": "docker",
        "model": {"id_or_path": f"{MODEL}.gguf"},
        "base_runtime": "llamacpp",
        "runtime_image": IMAGE,
        "runtime_image_tag": TAG,
        "parameters": {"parallel": [1, 4], "token-ms": 4},
        "optimization": {
            "objective": "maximize_throughput",
            "baseline": False,
            "verification": 0,
            "timeout_per_iteration": 60,
        },
        "benchmark": {
            "model_tokenizer": str(models_dir / MODEL),
            "traffic_scenarios": ["D(16,8)"],
            "num_concurrency": [4],
            "max_requests_per_iteration": 12,
            "max_time_per_iteration": 1,
            "warmup": 0,
        },
    }


def without_ours(environment: dict[str, str]) -> dict[str, str]:
    ours = ("AUTOTUNER_", "DJANGO_", "DATABASE_URL", "REDIS_URL", "DOCKER_MODEL_PATH")
    return {name: value for name, value in environment.items() if not name.startswith(ours)}


@pytest.fixture
def command_line(
    client: DockerClient, tmp_path: Path, models_dir: Path, tokenizers: Path
) -> Iterator[CommandLine]:
    """`manage.py run_task` over a data directory of its own."""
    environment = without_ours(dict(os.environ)) | {
        "AUTOTUNER_DATA_DIR": str(tmp_path / "data"),
        "DOCKER_MODEL_PATH": str(models_dir),
        "DOCKER_HOST": docker_address() or "",
        "AUTOTUNER_INSTANCE": f"t{os.getpid()}",
        "AUTOTUNER_PORT_RANGE": PORTS,
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tokenizers").symlink_to(tokenizers)
    place = CommandLine(tmp_path / "data", environment)
    with nothing_left(Containers(client, environment["AUTOTUNER_INSTANCE"])):
        try:
            yield place
        finally:
            for process in place.started:
                if process.poll() is None:
                    # Politely, so that genai-bench ends with it.
                    process.terminate()
                    process.communicate(timeout=30)


@pytest.fixture
def containers(client: DockerClient, command_line: CommandLine) -> Containers:
    return Containers(client, command_line.env["AUTOTUNER_INSTANCE"])


@contextmanager
def nothing_left(containers: Containers) -> Iterator[None]:
    """A container that is left is removed, and fails the test."""
    try:
        yield
    finally:
        left = containers.all()
        for container in left:
            container.remove(force=True)
    assert [one.name for one in left] == []


@dataclass
class Cluster:
    """Workers with a short lease over one database and one broker."""

    installation: Installation
    containers: Containers

    def start_worker(self) -> Child:
        return self.installation.start(
            "worker",
            *("-m", "celery", "-A", "autotuner_site", "worker", "--loglevel=WARNING"),
            "--concurrency=2",
        )

    def start_serve(self) -> Child:
        arguments = ("manage.py", "serve", "--port", str(free_port()))
        return self.installation.start("serve", *arguments)

    @staticmethod
    def kill_all_of(child: Child) -> None:
        """SIGKILL to it and to all that it started: web server, worker, pool, genai-bench."""
        parent = psutil.Process(child.pid)
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)

    def sweeps_since_now(self, count: int) -> Callable[[], bool]:
        """True once a worker has swept that often since this call, by its own heartbeat."""
        seen = {newest_beat()}

        def enough() -> bool:
            seen.add(newest_beat())
            return len(seen) > count

        return enough

    def queue(self, document: Document) -> Task:
        """Store a task for the workers; no bell is rung: the sweep has to find it."""
        return submit(parse_task(document), time_limit_s=600)

    def wait_for_end_of(self, task: Task) -> Task:
        def ended() -> bool:
            task.refresh_from_db()
            return task.state.is_terminal

        wait_until(ended, "the end of the task", 90)
        return task

    def wait_until_measuring(self, task: Task, attempt: int = 1) -> Container:
        running = task.experiments.filter(status="BENCHMARKING", attempt=attempt)
        wait_until(running.exists, f"measuring\n{self.output()}", 60)
        return self.containers.wait_for_one()

    def output(self) -> str:
        return "\n".join(child.output() for child in self.installation.children)


def newest_beat() -> datetime | None:
    newest = WorkerHeartbeat.objects.order_by("-heartbeat_at").first()
    return newest.heartbeat_at if newest else None


@pytest.fixture
def cluster(
    client: DockerClient, models_dir: Path, tokenizers: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[Cluster]:
    """This process's Django reads and writes the cluster's database."""
    with tempfile.TemporaryDirectory(prefix="docker-") as data_dir, running_redis() as redis:
        containers = Containers(client, f"c{os.getpid()}")
        installation = Installation.create(
            Path(data_dir),
            redis.url,
            AUTOTUNER_INSTANCE=containers.instance,
            AUTOTUNER_LEASE_S=str(LEASE_S),
            AUTOTUNER_PORT_RANGE=PORTS,
            DOCKER_MODEL_PATH=str(models_dir),
            DOCKER_HOST=docker_address() or "",
        )
        (Path(data_dir) / "tokenizers").symlink_to(tokenizers)
        installation.migrate()
        with (
            nothing_left(containers),
            django_db_blocker.unblock(),
            database_of(installation),
            override_settings(AUTOTUNER_LEASE_S=LEASE_S),
        ):
            try:
                yield Cluster(installation, containers)
            finally:
                installation.stop_all()
