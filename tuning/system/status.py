"""The state of the whole installation at one moment, for the API and the pages.

Read-only, and cheap enough for a page that looks again every few seconds: a handful of queries,
one question to Redis, one look at the processes of this host.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Count
from django.utils import timezone

from tuning.models import Experiment, Lease, Task, WorkerHeartbeat
from tuning.models.experiment import RUNNING_EXPERIMENT_STATUSES
from tuning.orchestrator.lease import lease_times
from tuning.system.broker import queue_depth
from tuning.system.orphans import Orphan, find_orphans
from tuning.system.read_only import wal_of
from tuning.system.versions import versions


@dataclass(frozen=True)
class Worker:
    """`alive` while its last heartbeat is younger than a lease."""

    name: str
    host: str
    pid: int
    version: str
    concurrency: int
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_s: float
    alive: bool


@dataclass(frozen=True)
class RunningExperiment:
    """`owner` is the process that holds the lease, `host/pid/start time`; None between two."""

    experiment_id: int
    task_id: int
    task_name: str
    number: int
    attempt: int
    status: str
    owner: str | None
    since: datetime | None


@dataclass(frozen=True)
class LeaseState:
    """An `expired` lease is taken away by the next sweep."""

    experiment_id: int
    task_id: int
    number: int
    owner: str
    acquired_at: datetime
    heartbeat_age_s: float
    expired: bool


@dataclass(frozen=True)
class Disk:
    """The file system of the data directory; None where it can't be asked."""

    path: str
    free_bytes: int | None
    total_bytes: int | None


@dataclass(frozen=True)
class Database:
    """`size_bytes` is None for a vendor that is not asked for it."""

    vendor: str
    size_bytes: int | None


@dataclass(frozen=True)
class SystemStatus:
    """`queue_depth` counts messages no worker has taken; None while Redis is away.

    `orphans` are engines of this host that no live lease stands for. `unseen` says for each
    deployment mode whose engines could not be listed why.
    """

    at: datetime
    instance: str
    workers: tuple[Worker, ...]
    queue_depth: int | None
    open_tasks: Mapping[str, int]
    running: tuple[RunningExperiment, ...]
    leases: tuple[LeaseState, ...]
    orphans: tuple[Orphan, ...]
    unseen: Mapping[str, str]
    disk: Disk
    database: Database
    versions: Mapping[str, str | None]


def system_status() -> SystemStatus:
    now = timezone.now()
    found = find_orphans(settings.AUTOTUNER_INSTANCE)
    return SystemStatus(
        at=now,
        instance=settings.AUTOTUNER_INSTANCE,
        workers=tuple(workers(now)),
        queue_depth=queue_depth(),
        open_tasks=_open_tasks(),
        running=tuple(_running_experiments()),
        leases=tuple(_leases(now)),
        orphans=found.engines,
        unseen=found.unseen,
        disk=_disk(Path(settings.DATA_DIR)),
        database=Database(connection.vendor, _database_size()),
        versions=versions(),
    )


def as_document(status: SystemStatus) -> dict[str, Any]:
    """The status as JSON knows it: times as ISO 8601, everything else as it is."""
    document = _plain(asdict(status))
    assert isinstance(document, dict)
    return document


def workers(now: datetime, database: str = "default") -> list[Worker]:
    """Every worker that was heard of lately, dead ones too."""
    lease_s = lease_times().lease_s
    found = []
    for row in WorkerHeartbeat.objects.using(database):
        age_s = _age_s(row.heartbeat_at, now)
        found.append(
            Worker(
                name=row.name,
                host=row.host,
                pid=row.pid,
                version=row.version,
                concurrency=row.concurrency,
                started_at=row.started_at,
                heartbeat_at=row.heartbeat_at,
                heartbeat_age_s=age_s,
                alive=age_s < lease_s,
            )
        )
    return found


def _open_tasks() -> dict[str, int]:
    """How many tasks that have not ended are in each status."""
    counted = Task.objects.open().order_by("status").values("status").annotate(count=Count("pk"))
    return {row["status"]: row["count"] for row in counted}


def _running_experiments() -> list[RunningExperiment]:
    running = Experiment.objects.filter(status__in=RUNNING_EXPERIMENT_STATUSES)
    rows = running.order_by("started_at", "pk").values_list(
        "pk",
        "task_id",
        "task__name",
        "number",
        "attempt",
        "status",
        "lease__owner",
        "started_at",
    )
    return [RunningExperiment(*row) for row in rows]


def _leases(now: datetime) -> list[LeaseState]:
    lease_s = lease_times().lease_s
    found = []
    for lease in Lease.objects.select_related("experiment").order_by("acquired_at"):
        age_s = _age_s(lease.heartbeat_at, now)
        found.append(
            LeaseState(
                experiment_id=lease.experiment_id,
                task_id=lease.experiment.task_id,
                number=lease.experiment.number,
                owner=lease.owner,
                acquired_at=lease.acquired_at,
                heartbeat_age_s=age_s,
                expired=age_s >= lease_s,
            )
        )
    return found


def _age_s(heartbeat_at: datetime, now: datetime) -> float:
    """Never negative: another host's clock may be a little ahead of ours."""
    return round(max(0.0, (now - heartbeat_at).total_seconds()), 3)


def _disk(path: Path) -> Disk:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return Disk(str(path), None, None)
    return Disk(str(path), usage.free, usage.total)


def _database_size() -> int | None:
    """Bytes on disk, with what SQLite's log has not yet moved into the file."""
    if connection.vendor == "sqlite":
        file = Path(connection.settings_dict["NAME"])
        return sum(path.stat().st_size for path in (file, wal_of(file)) if path.exists())
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
