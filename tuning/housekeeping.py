"""Deleting tasks, and what is too old to keep."""

from __future__ import annotations

import shutil
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from tuning.domain.lifecycle import TaskStatus
from tuning.logs import log_path
from tuning.models import Lease, LogChunk, Task
from tuning.orchestrator.control import TaskIsBusy


def delete_task(task_id: int) -> None:
    """Delete a task with its measurements, log and raw results.

    Raises:
        Task.DoesNotExist: there is no such task.
        TaskIsBusy: it has not ended, or something of it still runs.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update().get(pk=task_id)
        may_go = task.state.is_terminal or task.state is TaskStatus.DRAFT
        if not may_go or Lease.objects.filter(experiment__task=task).exists():
            raise TaskIsBusy(f"Task {task_id} is {task.status}: cancel it first.")
        task.delete()
    log_path(settings.AUTOTUNER_LOG_DIR, task_id).unlink(missing_ok=True)
    shutil.rmtree(settings.AUTOTUNER_RESULTS_DIR / f"task_{task_id}", ignore_errors=True)


def apply_retention() -> int:
    """Drop the logs of tasks that ended longer ago than the setting; how many tasks that were."""
    cutoff = timezone.now() - timedelta(days=settings.AUTOTUNER_LOG_RETENTION_DAYS)
    old = Task.objects.filter(finished_at__lt=cutoff)
    with_log = list(
        LogChunk.objects.filter(task__in=old).values_list("task_id", flat=True).distinct()
    )
    for task_id in with_log:
        LogChunk.objects.filter(task_id=task_id).delete()
        log_path(settings.AUTOTUNER_LOG_DIR, task_id).unlink(missing_ok=True)
    return len(with_log)
