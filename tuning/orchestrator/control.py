"""What a user can do to a task: submit, pause, resume, cancel."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import (
    ExperimentEvent,
    ExperimentStatus,
    TaskEvent,
    TaskStatus,
    next_status,
    sources_of,
    target_of,
)
from tuning.domain.planning import plan, verifying_launches
from tuning.domain.space import SpaceError
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Lease, Task
from tuning.orchestrator.transitions import legal_statuses
from tuning.orchestrator.warm_starting import refuse_useless

CANCELLED_BY_USER = "Cancelled by the user; what was measured is kept."

WORTH_ANOTHER_LAUNCH = frozenset(
    {
        FailureKind.MODEL_MISSING,
        FailureKind.ENGINE_MISSING,
        FailureKind.IMAGE_MISSING,
        FailureKind.ACCELERATOR_MISSING,
        FailureKind.FORBIDDEN,
        FailureKind.INVALID_SPEC,
        FailureKind.CLUSTER_UNAVAILABLE,
        FailureKind.PORT_TAKEN,
        FailureKind.LOST_WORKER,
        FailureKind.INTERNAL_ERROR,
    }
)
"""Failures that say nothing of the configuration: a resumed task tries these again."""


class TaskIsBusy(Exception):
    """Somebody runs the task at this moment."""


def submit(
    spec: TaskSpec,
    *,
    driver: str = "",
    owner: User | None = None,
    time_limit_s: int | None = None,
    draft: bool = False,
) -> Task:
    """Store a task. With a `driver` it is left to that process; without, the workers run it.

    A draft waits until it is queued.

    Raises:
        InvalidTask: it is no draft, and is to start from tasks that it can't learn from.
    """
    if not draft:
        refuse_useless(spec, owner)
    return Task.objects.create(
        **_described_by(spec),
        status=(TaskStatus.DRAFT if draft else TaskStatus.PENDING).value,
        driver=driver,
        owner=owner,
        time_limit_s=time_limit_s,
    )


def revise(task_id: int, spec: TaskSpec) -> bool:
    """Give a draft another spec. False when it is no draft (any more)."""
    drafts = Task.objects.filter(pk=task_id, status=TaskStatus.DRAFT.value)
    return bool(drafts.update(**_described_by(spec)))


def queue(task_id: int, *, time_limit_s: int | None = None) -> bool:
    """Leave a draft to the workers. False when it is no draft (any more).

    Raises:
        InvalidTask: it is to start from tasks that it can't learn from.
    """
    drafts = Task.objects.filter(pk=task_id, status__in=legal_statuses(TaskEvent.QUEUED))
    draft = drafts.select_related("owner").first()
    if draft is None:
        return False
    refuse_useless(draft.parsed_spec(), draft.owner)
    return bool(drafts.update(status=target_of(TaskEvent.QUEUED).value, time_limit_s=time_limit_s))


def _described_by(spec: TaskSpec) -> dict[str, Any]:
    return {
        "name": spec.task_name,
        "description": spec.description,
        "spec": spec.to_document(),
        "planned_experiments": _planned_experiments(spec),
    }


def _planned_experiments(spec: TaskSpec) -> int | None:
    """With the baseline, and what verification launches again; None if nobody can say."""
    try:
        configurations = len(plan(spec).configurations)
        return configurations + verifying_launches(spec, configurations)
    except SpaceError:
        return None


def request_cancel(task_id: int, reason: str = CANCELLED_BY_USER) -> bool:
    """Ask for a task to stop. False when it does not run, has ended, or was asked before."""
    return bool(
        Task.objects.open()
        .exclude(status=TaskStatus.DRAFT.value)
        .filter(pk=task_id, cancel_requested_at__isnull=True)
        .update(cancel_requested_at=timezone.now(), cancel_reason=reason)
    )


def pause(task_id: int) -> bool:
    """Queue nothing more; what runs at this moment runs to its end. False unless it was running."""
    return bool(
        Task.objects.filter(pk=task_id, status__in=legal_statuses(TaskEvent.PAUSED)).update(
            status=target_of(TaskEvent.PAUSED)
        )
    )


def resume(task_id: int, *, driver: str = "") -> Task:
    """Make a stopped task runnable again; finished experiments stay as they are.

    Its time limit begins anew. The task is left to `driver`, or to the workers.

    Raises:
        Task.DoesNotExist: there is no such task.
        TaskIsBusy: one of its experiments has a live lease.
        IllegalTransition: the task is completed, so there is nothing to go on with.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        lease = Lease.objects.filter(experiment__task=task).first()
        if lease is not None and task.state is not TaskStatus.PAUSED:
            raise TaskIsBusy(f"Task {task_id} is being run by {lease.owner}.")
        if task.state in {*sources_of(TaskEvent.RESUMED), TaskStatus.COMPLETED}:
            task.status = next_status(task.state, TaskEvent.RESUMED).value
            task.started_at = timezone.now()
        task.driver = driver
        task.cancel_requested_at = None
        task.cancel_reason = ""
        task.finished_at = None
        task.best_experiment = None
        task.verdicts = []
        task.status_reason = ""
        task.save()
        _reopen_experiments(task)
    return task


def _reopen_experiments(task: Task) -> None:
    cancelled = Experiment.objects.filter(task=task, status=ExperimentStatus.CANCELLED.value)
    blameless = Experiment.objects.filter(
        task=task,
        status=ExperimentStatus.FAILED.value,
        failure_kind__in=[kind.value for kind in WORTH_ANOTHER_LAUNCH],
    )
    for experiments in (cancelled, blameless):
        experiments.update(
            status=target_of(ExperimentEvent.REOPENED),
            attempt=0,
            failure_kind="",
            failure_message="",
            log_tail=[],
            waiting_since=None,
            started_at=None,
            finished_at=None,
        )
