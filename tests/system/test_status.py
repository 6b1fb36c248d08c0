"""What the status page and the API are told about the whole installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from autotuner_site.celery import app as celery_app
from controllers.base import DeploymentIdentity
from controllers.engine_records import EngineRecord, EngineRecords
from controllers.processes import MARK
from tests.orchestrator.recording import OWNER
from tests.system.conftest import NOBODY_LISTENS, PROJECT
from tuning.domain.lifecycle import ExperimentEvent
from tuning.models import Lease, Task, WorkerHeartbeat
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import HeldLease, claim, lease_times
from tuning.system.broker import broker_address, queue_depth
from tuning.system.status import as_document, system_status
from tuning.system.versions import versions

MakeTask = Callable[..., Task]

pytestmark = pytest.mark.django_db


def claimed(task: Task) -> HeldLease:
    lease = claim(advance(task.pk).ready[0], OWNER)
    assert lease is not None
    return lease


def let_run_out(lease: HeldLease) -> None:
    Lease.objects.filter(token=lease.token).update(
        heartbeat_at=timezone.now() - timedelta(seconds=lease_times().lease_s + 1)
    )


def identity_of(lease: HeldLease) -> DeploymentIdentity:
    experiment = lease.experiment
    return DeploymentIdentity(
        django_settings.AUTOTUNER_INSTANCE, experiment.task_id, experiment.pk, experiment.attempt
    )


@pytest.fixture
def start_engine(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A living process that bears an engine's mark and has an engine's record."""
    settings.AUTOTUNER_RUNTIME_DIR = tmp_path
    started: list[subprocess.Popen[bytes]] = []

    def start(identity: DeploymentIdentity) -> None:
        command = (sys.executable, "-c", "import time; time.sleep(60)")
        process = subprocess.Popen(
            command, env={**os.environ, MARK: identity.name}, start_new_session=True
        )
        started.append(process)
        start_time = psutil.Process(process.pid).create_time()
        EngineRecords(tmp_path).write(
            EngineRecord(identity, process.pid, start_time, 8000, command)
        )

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_an_idle_installation_is_a_json_document() -> None:
    document = as_document(system_status())
    assert json.loads(json.dumps(document)) == document
    assert list(document) == [
        "at",
        "instance",
        "workers",
        "queue_depth",
        "open_tasks",
        "running",
        "leases",
        "orphans",
        "unseen",
        "disk",
        "database",
        "versions",
    ]
    assert document["disk"]["free_bytes"] > 0
    assert document["database"]["size_bytes"] > 0
    assert document["unseen"] == {}
    for empty in ("workers", "running", "leases", "orphans", "open_tasks"):
        assert not document[empty]


def test_live_and_expired_leases_are_told_apart(make_task: MakeTask) -> None:
    live, expired = claimed(make_task()), claimed(make_task())
    live.move(ExperimentEvent.ENGINE_READY)
    let_run_out(expired)
    status = system_status()
    told = {lease.experiment_id: lease for lease in status.leases}
    assert not told[live.experiment.pk].expired
    assert told[live.experiment.pk].heartbeat_age_s < 5
    assert told[expired.experiment.pk].expired
    assert told[expired.experiment.pk].heartbeat_age_s > lease_times().lease_s
    assert [(one.status, one.owner) for one in status.running] == [
        ("BENCHMARKING", OWNER),
        ("DEPLOYING", OWNER),
    ]
    assert status.running[0].task_id == live.experiment.task_id
    assert status.running[0].since is not None
    assert status.open_tasks == {"RUNNING": 2}


def test_a_worker_that_fell_silent_is_shown_as_dead() -> None:
    now = timezone.now()
    for name, heartbeat_at in (
        ("here/1/1.00", now),
        ("there/2/2.00", now - timedelta(seconds=lease_times().lease_s + 1)),
        ("ahead/3/3.00", now + timedelta(seconds=5)),
    ):
        host = name.partition("/")[0]
        WorkerHeartbeat.objects.create(
            name=name,
            host=host,
            pid=1,
            version="0",
            concurrency=1,
            started_at=heartbeat_at,
            heartbeat_at=heartbeat_at,
        )
    told = {worker.host: worker for worker in system_status().workers}
    assert {host: worker.alive for host, worker in told.items()} == {
        "here": True,
        "there": False,
        "ahead": True,
    }
    assert told["ahead"].heartbeat_age_s == 0


def test_an_engine_that_nobody_holds_a_lease_for_is_an_orphan(
    make_task: MakeTask, start_engine: Callable[..., None]
) -> None:
    held, expired = claimed(make_task()), claimed(make_task())
    let_run_out(expired)
    of_an_earlier_attempt = DeploymentIdentity(
        django_settings.AUTOTUNER_INSTANCE, held.experiment.task_id, held.experiment.pk, 7
    )
    of_another_instance = DeploymentIdentity("another", 1, 1, 1)
    engines = (identity_of(held), identity_of(expired), of_an_earlier_attempt, of_another_instance)
    for identity in engines:
        start_engine(identity)
    orphans = {(one.mode, one.name) for one in system_status().orphans}
    assert orphans == {("local", identity_of(expired).name), ("local", of_an_earlier_attempt.name)}
    assert {one.name for one in system_status().orphans} == {name for _, name in orphans}


def test_a_place_whose_engines_cannot_be_listed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise ConnectionError("nobody home")

    monkeypatch.setattr("tuning.system.orphans.build_controller", away)
    status = system_status()
    assert status.unseen["local"] == "nobody home"
    assert status.orphans == ()


def test_it_costs_the_same_however_many_experiments_run(
    make_task: MakeTask, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        claimed(make_task())
    # PostgreSQL is asked for its size, SQLite's file is looked at.
    with django_assert_num_queries(7 if connection.vendor == "postgresql" else 6):
        system_status()


def test_the_queue_is_as_deep_as_celery_made_it(settings: Settings, redis_url: str) -> None:
    settings.REDIS_URL = redis_url
    assert queue_depth() == 0
    with celery_app.connection_for_write(redis_url) as broker:
        for number in range(3):
            celery_app.send_task("tuning.advance", [number], connection=broker)
    assert queue_depth() == 3


@pytest.mark.parametrize("url", [NOBODY_LISTENS, "unix:///no/such.sock", "not a url"])
def test_without_redis_nobody_knows_the_depth(settings: Settings, url: str) -> None:
    settings.REDIS_URL = url
    assert system_status().queue_depth is None


def test_no_address_shows_a_password(settings: Settings) -> None:
    settings.REDIS_URL = NOBODY_LISTENS
    assert broker_address() == "redis://127.0.0.1:1/0"
    settings.REDIS_URL = "unix://someone:secret@/run/redis.sock?password=secret"
    assert broker_address() == "unix:///run/redis.sock"


def test_the_version_is_that_of_the_project() -> None:
    assert f'version = "{versions()["autotuner"]}"' in (PROJECT / "pyproject.toml").read_text()
    assert versions()["vllm"] is None or versions()["vllm"]
    assert versions()["celery"]
