"""What the API says of the installation."""

from __future__ import annotations

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone

from tuning.models import WorkerHeartbeat

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker() -> WorkerHeartbeat:
    now = timezone.now()
    return WorkerHeartbeat.objects.create(
        name="one", host="here", pid=1, version="1", concurrency=1, started_at=now, heartbeat_at=now
    )


def test_it_is_well_when_everything_answers(
    api: Client, worker: WorkerHeartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.api.system.queue_depth", lambda: 3)
    health = api.get("/api/system/health").json()
    assert health == {"status": "ok", "database": True, "redis": True, "workers": 1}


def test_it_is_not_without_redis_without_workers_or_without_tables(
    api: Client, worker: WorkerHeartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_table(*_: object) -> None:
        raise DatabaseError("no such table")

    monkeypatch.setattr("tuning.api.system.queue_depth", lambda: None)
    health = api.get("/api/system/health").json()
    assert health == {"status": "degraded", "database": True, "redis": False, "workers": 1}
    monkeypatch.setattr("tuning.api.system.queue_depth", lambda: 0)
    worker.delete()
    health = api.get("/api/system/health").json()
    assert health == {"status": "degraded", "database": True, "redis": True, "workers": 0}
    monkeypatch.setattr("tuning.api.system.workers", no_table)
    health = api.get("/api/system/health").json()
    assert health == {"status": "degraded", "database": False, "redis": True, "workers": 0}
