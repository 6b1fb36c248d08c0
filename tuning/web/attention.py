"""What somebody has to look after, the worst first: each with what to do about it and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.urls import reverse

from tuning.domain.lifecycle import TaskStatus
from tuning.formatting import duration
from tuning.models import Lease, Task
from tuning.orchestrator.lease import lease_times
from tuning.system.check import CheckState, Probe
from tuning.system.check_host import disk
from tuning.system.check_services import redis
from tuning.system.checks import run_checks
from tuning.system.orphans import Orphan, find_orphans

LATELY = timedelta(hours=24)
"""For so long a task that failed is still news."""
SHOWN_BY_NAME = 3
"""Tasks of a kind that get a notice each; more than these are counted."""

START_A_WORKER = "Start one with `python manage.py serve`."


@dataclass(frozen=True)
class Notice:
    """`tone` is bad, warn or info. `address` leads to where one can act."""

    tone: str
    text: str
    advice: str
    address: str
    link: str


def task_notices(user: User, now: datetime, *, waiting: int, workers_alive: int) -> list[Notice]:
    """About the user's tasks. `waiting` of them need a worker. Two queries."""
    notices = []
    if waiting and not workers_alive:
        notices.append(_no_worker(waiting))
    notices += _expired_leases(user, now)
    tasks = Task.objects.visible_to(user).only("pk", "name", "status", "status_reason")
    # Drafts of others are their own business, also for somebody who may see them.
    notable = list(
        tasks.filter(
            Q(status=TaskStatus.FAILED.value, finished_at__gt=now - LATELY)
            | Q(status=TaskStatus.PAUSED.value)
            | Q(status=TaskStatus.DRAFT.value, owner=user)
        )
    )
    notices += _failed([task for task in notable if task.state is TaskStatus.FAILED])
    notices += _paused([task for task in notable if task.state is TaskStatus.PAUSED])
    notices += _drafts([task for task in notable if task.state is TaskStatus.DRAFT])
    return notices


def host_notices() -> list[Notice]:
    """About the installation. Asks Redis and looks at processes: may take seconds."""
    notices = []
    checks = run_checks({"": (Probe("Redis", redis, needed=True), Probe("disk", disk))})
    for check in checks:
        if check.state is not CheckState.OK:
            tone = "bad" if check.state is CheckState.MISSING else "warn"
            text = f"{check.name[0].upper()}{check.name[1:]}: {check.detail}."
            notices.append(Notice(tone, text, check.hint, reverse("system"), "System"))
    found = find_orphans(settings.AUTOTUNER_INSTANCE)
    notices += [_orphan(engine) for engine in found.engines]
    notices += [
        Notice(
            "warn",
            f"Engines of mode {mode} can't be listed: {reason}",
            "Some may run unseen until this place answers again.",
            reverse("system"),
            "System",
        )
        for mode, reason in found.unseen.items()
    ]
    return notices


def _no_worker(waiting: int) -> Notice:
    tasks = "A task waits" if waiting == 1 else f"{waiting} tasks wait"
    return Notice(
        "bad",
        f"{tasks}, and no worker is alive.",
        START_A_WORKER,
        _list_of(TaskStatus.PENDING),
        "Waiting tasks",
    )


def _expired_leases(user: User, now: datetime) -> Iterator[Notice]:
    oldest = now - timedelta(seconds=lease_times().lease_s)
    leases = Lease.objects.filter(
        heartbeat_at__lte=oldest, experiment__task__in=Task.objects.visible_to(user)
    )
    for lease in leases.select_related("experiment__task").order_by("heartbeat_at"):
        experiment = lease.experiment
        silent = duration((now - lease.heartbeat_at).total_seconds())
        yield Notice(
            "warn",
            f"Experiment {experiment.number} of task {experiment.task} has lost its worker: "
            f"{lease.owner} has been silent for {silent}.",
            "The next sweep of a worker queues it again.",
            reverse("task", args=[experiment.task_id]),
            "Open the task",
        )


def _failed(tasks: Sequence[Task]) -> Iterator[Notice]:
    for task in tasks[:SHOWN_BY_NAME]:
        yield Notice(
            "bad",
            f"Task {task} failed. {task.status_reason}".strip(),
            "See why, then resume it or change a copy of it.",
            reverse("task", args=[task.pk]),
            "Open the task",
        )
    more = len(tasks) - SHOWN_BY_NAME
    if more > 0:
        yield Notice(
            "bad",
            f"{more} more failed within {LATELY.total_seconds() / 3600:.0f} hours.",
            "Failures alike often have one cause, such as a missing model.",
            _list_of(TaskStatus.FAILED),
            "Failed tasks",
        )


def _paused(tasks: Sequence[Task]) -> Iterator[Notice]:
    if tasks:
        yield _about_one_or_many(
            tasks, "warn", "is paused.", "tasks are paused.", "Resume or cancel.", TaskStatus.PAUSED
        )


def _drafts(tasks: Sequence[Task]) -> Iterator[Notice]:
    if tasks:
        yield _about_one_or_many(
            tasks,
            "info",
            "is a draft.",
            "drafts of yours are not started.",
            "Nothing runs until you start it.",
            TaskStatus.DRAFT,
        )


def _about_one_or_many(
    tasks: Sequence[Task], tone: str, one: str, many: str, advice: str, status: TaskStatus
) -> Notice:
    if len(tasks) == 1:
        address = reverse("task", args=[tasks[0].pk])
        return Notice(tone, f"Task {tasks[0]} {one}", advice, address, "Open the task")
    return Notice(tone, f"{len(tasks)} {many}", advice, _list_of(status), "Show them")


def _orphan(engine: Orphan) -> Notice:
    return Notice(
        "warn",
        f"Engine {engine.name} ({engine.mode}) runs for nobody; it was started for task "
        f"{engine.task_id}, attempt {engine.attempt}.",
        "The next sweep of a worker removes it.",
        reverse("containers") if engine.mode == "docker" else reverse("system"),
        "Containers" if engine.mode == "docker" else "System",
    )


def _list_of(status: TaskStatus) -> str:
    return f"{reverse('task-list')}?status={status.value}"
