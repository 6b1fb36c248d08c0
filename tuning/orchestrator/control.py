"""What a user can do to a task: submit, cancel, resume."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import (
    ExperimentEvent,
    ExperimentStatus,
    TaskEvent,
    next_status,
    target_of,
)
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Lease, Task

WORTH_ANOTHER_LAUNCH = frozenset(
    {
        FailureKind.MODEL_MISSING,
        FailureKind.ENGINE_MISSING,
        FailureKind.IMAGE_MISSING,
        FailureKind.PORT_TAKEN,
        FailureKind.LOST_WORKER,
        FailureKind.INTERNAL_ERROR,
    }
)
"""Failures that say nothing of the configuration: a resumed task tries these again."""


class TaskIsBusy(Exception):
    """Somebody runs the task at this moment."""


def submit(spec: TaskSpec) -> Task:
    return Task.objects.create(
        name=spec.task_name, description=spec.description, spec=spec.to_document()
    )


def request_cancel(task_id: int) -> bool:
    """Ask for a task to stop. False when it has ended already or was asked before."""
    return bool(
        Task.objects.filter(
            pk=task_id, finished_at__isnull=True, cancel_requested_at__isnull=True
        ).update(cancel_requested_at=timezone.now())
    )


def resume(task_id: int) -> Task:
    """Make a stopped task runnable again; finished experiments stay as they are.

    Raises:
        Task.DoesNotExist: there is no such task.
        TaskIsBusy: one of its experiments has a live lease.
        IllegalTransition: the task is completed, so there is nothing to go on with.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        lease = Lease.objects.filter(experiment__task=task).first()
        if lease is not None:
            raise TaskIsBusy(f"Task {task_id} is being run by {lease.owner}.")
        if task.state.is_terminal:
            task.status = next_status(task.state, TaskEvent.RESUMED).value
        task.cancel_requested_at = None
        task.finished_at = None
        task.best_experiment = None
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
            started_at=None,
            finished_at=None,
        )
