"""A worker is in the database for as long as it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from autotuner_site import __version__
from tests.system.conftest import PROJECT, Installation
from tuning.models import WorkerHeartbeat
from tuning.orchestrator.lease import lease_times, this_process
from tuning.system.heartbeat import FORGOTTEN_AFTER_LEASES, WorkerPulse


@pytest.mark.django_db
def test_beating_again_renews_one_row() -> None:
    pulse = WorkerPulse(concurrency=4)
    pulse.beat()
    first = WorkerHeartbeat.objects.get()
    assert (first.name, first.pid, first.concurrency, first.version) == (
        this_process(),
        os.getpid(),
        4,
        __version__,
    )
    pulse.beat()
    second = WorkerHeartbeat.objects.get()
    assert second.heartbeat_at > first.heartbeat_at
    assert second.started_at == first.started_at
    pulse.stop()
    pulse.stop()
    assert not WorkerHeartbeat.objects.exists()


@pytest.mark.django_db
def test_a_worker_long_silent_is_forgotten_and_a_short_while_silent_is_not() -> None:
    lease_s = lease_times().lease_s
    for host, age_leases in (("long", FORGOTTEN_AFTER_LEASES + 1), ("short", 2)):
        at = timezone.now() - timedelta(seconds=age_leases * lease_s)
        WorkerHeartbeat.objects.create(
            name=host,
            host=host,
            pid=1,
            version="0",
            concurrency=1,
            started_at=at,
            heartbeat_at=at,
        )
    WorkerPulse(1).beat()
    hosts = set(WorkerHeartbeat.objects.values_list("host", flat=True))
    assert "long" not in hosts
    assert "short" in hosts


@pytest.mark.django_db
def test_a_database_that_is_away_stops_no_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> Any:
        raise DatabaseError("away")

    monkeypatch.setattr(WorkerHeartbeat.objects, "update_or_create", away)
    monkeypatch.setattr(WorkerHeartbeat.objects, "filter", away)
    pulse = WorkerPulse(1)
    pulse.beat()
    pulse.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.fixture
def start_worker(migrated: Installation, redis_url: str) -> Iterator[Callable[[], int]]:
    """A real Celery worker of the installation `migrated`; its process id."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "autotuner_site", "worker", "-c", "1"],
            env={**migrated.env, "REDIS_URL": redis_url, "AUTOTUNER_LEASE_S": "6"},
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process.pid

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def rows(database: Path) -> list[tuple[int, int]]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        return reader.execute("SELECT pid, concurrency FROM tuning_workerheartbeat").fetchall()


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_real_worker_comes_and_goes(
    migrated: Installation, start_worker: Callable[[], int]
) -> None:
    killed, pid = start_worker(), start_worker()
    wait_for(lambda: set(rows(migrated.database)) == {(killed, 1), (pid, 1)})
    assert migrated.doctor(AUTOTUNER_LEASE_S="6") == 0
    assert migrated.doctor_says["workers"]["detail"] == "2 alive, 2 experiments at a time"

    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: rows(migrated.database) == [(killed, 1)])

    os.killpg(killed, signal.SIGKILL)
    wait_for(lambda: migrated.doctor(AUTOTUNER_LEASE_S="6") == 0 and not _alive(migrated))
    assert migrated.doctor_says["workers"]["detail"] == "none alive, 1 silent"


def _alive(installation: Installation) -> bool:
    return installation.doctor_says["workers"]["state"] == "ok"
