"""What the dashboard shows, read in a fixed number of queries."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone

from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import EngineName
from tuning.estimates import Capacity
from tuning.models import Experiment, Task
from tuning.models.experiment import RUNNING_EXPERIMENT_STATUSES
from tuning.models.task import TERMINAL_TASK_STATUSES
from tuning.progress import Verifying, seconds_to_go, starts_of
from tuning.system.check import Check, Finding, Probe
from tuning.system.check_engines import engine_found
from tuning.system.check_host import disk
from tuning.system.checks import run_checks
from tuning.system.status import Worker, workers
from tuning.task_rows import TaskRow, read_rows
from tuning.web.attention import Notice, task_notices

RUNNING_SHOWN = 12
QUEUE_SHOWN = 10
RECENT_SHOWN = 8

ENGINES_KEPT_S = 60
"""Asking vLLM and SGLang for their versions starts a process each."""


@dataclass(frozen=True)
class RunningTask:
    """`current` is the first experiment under way; None between two, or while no worker has it.

    `running_since` has the start of each that is under way, `at_once` is how many may be.
    """

    row: TaskRow
    current: Experiment | None
    running_since: Sequence[datetime]
    at_once: int

    @property
    def eta_s(self) -> float | None:
        rounds: int = self.row.task.spec["optimization"].get("verification", 0)
        return seconds_to_go(
            self.row.total - self.row.finished,
            self.row.mean_experiment_s,
            self.running_since,
            self.at_once,
            Verifying(2 * rounds, self.row.mean_whole_s),
        )


@dataclass(frozen=True)
class QueuedTask:
    """`position` counts the tasks of all users, from 1."""

    position: int
    row: TaskRow


@dataclass(frozen=True)
class Board:
    """`*_more` count what is not listed. `is_new` is true for a user without any task."""

    notices: Sequence[Notice]
    running: Sequence[RunningTask]
    running_more: int
    queue: Sequence[QueuedTask]
    queue_more: int
    recent: Sequence[TaskRow]
    workers: Sequence[Worker]
    workers_alive: int
    most_running: int
    disk: Finding
    is_new: bool


def read_board(user: User) -> Board:
    """Ten queries at most, and those for the user's rights."""
    now = timezone.now()
    tasks = Task.objects.visible_to(user)
    running, queued, waiting = _under_way(user)
    recent = list(
        tasks.filter(status__in=TERMINAL_TASK_STATUSES)
        .order_by("-finished_at")
        .values_list("pk", flat=True)[:RECENT_SHOWN]
    )
    shown = [*running[:RUNNING_SHOWN], *queued[:QUEUE_SHOWN], *recent]
    rows = {row.task.pk: row for row in read_rows(shown)}
    known = workers(now)
    alive = sum(worker.alive for worker in known)
    return Board(
        notices=task_notices(user, now, waiting=waiting, workers_alive=alive),
        running=_running([rows[one] for one in running[:RUNNING_SHOWN] if one in rows]),
        running_more=max(0, len(running) - RUNNING_SHOWN),
        queue=_queue([rows[one] for one in queued[:QUEUE_SHOWN] if one in rows]),
        queue_more=max(0, len(queued) - QUEUE_SHOWN),
        recent=[rows[one] for one in recent if one in rows],
        workers=known,
        workers_alive=alive,
        most_running=settings.AUTOTUNER_MAX_RUNNING_TASKS,
        disk=disk(),
        is_new=not shown and not tasks.exists(),
    )


def engine_checks() -> list[Check]:
    """Which engines this host has. Takes seconds the first time."""
    found: list[Check] | None = cache.get("engine-checks")
    if found is None:
        found = _look_for_engines()
        cache.set("engine-checks", found, ENGINES_KEPT_S)
    return found


def _look_for_engines() -> list[Check]:
    probes = [Probe(name.value, functools.partial(engine_found, name)) for name in EngineName]
    return run_checks({"Engines": probes})


def _under_way(user: User) -> tuple[list[int], list[int], int]:
    """The user's running tasks, those in the queue, and how many of both need a worker."""
    under_way = Task.objects.visible_to(user).filter(
        status__in=[TaskStatus.RUNNING.value, TaskStatus.PENDING.value]
    )
    found = list(under_way.order_by("pk").values_list("pk", "status", "driver"))
    running = [pk for pk, status, _ in found if status == TaskStatus.RUNNING.value]
    # A task with a driver of its own is not in the queue of the workers.
    queued = [
        pk for pk, status, driver in found if status == TaskStatus.PENDING.value and not driver
    ]
    return running, queued, sum(not driver for _, _, driver in found)


def _running(rows: Sequence[TaskRow]) -> list[RunningTask]:
    experiments = Experiment.objects.filter(
        task__in=[row.task.pk for row in rows], status__in=RUNNING_EXPERIMENT_STATUSES
    ).only("task_id", "number", "status", "parameters", "started_at")
    under_way: dict[int, list[Experiment]] = {row.task.pk: [] for row in rows}
    for one in experiments:
        under_way[one.task_id].append(one)
    capacity = Capacity()
    return [_running_task(row, under_way[row.task.pk], capacity) for row in rows]


def _running_task(row: TaskRow, under_way: Sequence[Experiment], capacity: Capacity) -> RunningTask:
    at_once = 1
    if row.mean_experiment_s is not None:
        at_once = capacity.runs_at_once(row.task.parsed_spec(), row.task.driver)
    current = under_way[0] if under_way else None
    return RunningTask(row, current, starts_of(under_way), at_once)


def _queue(rows: Sequence[TaskRow]) -> list[QueuedTask]:
    """Workers take the oldest first, whomever it belongs to."""
    if not rows:
        return []
    everyone = Task.objects.for_workers().filter(status=TaskStatus.PENDING.value).order_by("pk")
    positions = {pk: place for place, pk in enumerate(everyone.values_list("pk", flat=True), 1)}
    return [QueuedTask(positions.get(row.task.pk, len(positions) + 1), row) for row in rows]
