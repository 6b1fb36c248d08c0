"""All tasks of a user at a glance: what tells a page of many tasks that it is out of date."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.db.models import Count

from tuning.models import Experiment, Task


def read_overview(user: AbstractUser | AnonymousUser) -> dict[str, Any]:
    """`{"counts": {status: tasks}, "open": {task id: {"status", "experiments"}}}`. Two queries.

    `experiments` counts those of a task that has not ended by their status.
    """
    tasks = Task.objects.visible_to(user)
    counts = tasks.order_by("status").values_list("status").annotate(Count("pk"))
    open_tasks: dict[int, dict[str, Any]] = {
        task_id: {"status": status, "experiments": {}}
        for task_id, status in tasks.open().values_list("pk", "status")
    }
    experiments = Experiment.objects.filter(task__in=tasks.open()).order_by("task_id", "status")
    for task_id, status, count in experiments.values_list("task_id", "status").annotate(
        Count("pk")
    ):
        if task_id in open_tasks:
            open_tasks[task_id]["experiments"][status] = count
    return {"counts": dict(counts), "open": open_tasks}
