"""`manage.py tasks`: the tasks there are, and what a user can do to one of them."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Q
from rich.table import Table

from tuning.database import DatabaseNotReady, prepare_database
from tuning.domain.lifecycle import IllegalTransition
from tuning.doorbell import announce_task, ring_for_task
from tuning.housekeeping import delete_task
from tuning.models import Task
from tuning.models.experiment import TERMINAL_EXPERIMENT_STATUSES
from tuning.orchestrator.control import TaskIsBusy, pause, request_cancel, resume
from tuning.terminal.console import output_console
from tuning.terminal.session import EXIT_BAD_INPUT

LISTED = 50


class Command(BaseCommand):
    help = "List tasks, or cancel, pause, resume or delete one. Workers carry it out."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action", nargs="?", choices=["list", *ACTIONS], default="list", help="default: list"
        )
        parser.add_argument("task_id", nargs="?", type=int, metavar="ID")

    def handle(self, *args: Any, action: str, task_id: int | None, **options: Any) -> None:
        try:
            prepare_database()
            if action == "list":
                output_console().print(table_of_tasks())
                return
            if task_id is None:
                raise CommandError(
                    f"{action}: name a task by its number.", returncode=EXIT_BAD_INPUT
                )
            self.stdout.write(ACTIONS[action](task_id))
        except Task.DoesNotExist:
            raise CommandError(
                f"{action}: there is no task {task_id}.", returncode=EXIT_BAD_INPUT
            ) from None
        except (DatabaseNotReady, IllegalTransition, TaskIsBusy) as refusal:
            raise CommandError(str(refusal), returncode=EXIT_BAD_INPUT) from refusal


def table_of_tasks() -> Table:
    """The newest tasks with how far they have come."""
    ended = Count("experiments", filter=Q(experiments__status__in=TERMINAL_EXPERIMENT_STATUSES))
    table = Table("id", "name", "status", "experiments", "run by", "reason")
    tasks = Task.objects.annotate(ended=ended, known=Count("experiments"))
    for task in tasks.values("pk", "name", "status", "ended", "known", "driver", "status_reason")[
        :LISTED
    ]:
        table.add_row(
            str(task["pk"]),
            task["name"],
            task["status"],
            f"{task['ended']} ended of {task['known']}",
            task["driver"] or "workers",
            task["status_reason"],
        )
    return table


def cancel_task(task_id: int) -> str:
    task = Task.objects.get(pk=task_id)
    if not request_cancel(task_id):
        raise TaskIsBusy(f"Task {task_id} is {task.status} or is being cancelled already.")
    _tell(task_id)
    return f"Task {task_id} is being cancelled; what was measured is kept."


def pause_task(task_id: int) -> str:
    task = Task.objects.get(pk=task_id)
    if not pause(task_id):
        raise TaskIsBusy(f"Task {task_id} is {task.status}: only a running task can be paused.")
    announce_task(task_id)
    return f"Task {task_id} is paused once its running experiment has ended."


def resume_task(task_id: int) -> str:
    resume(task_id)
    _tell(task_id)
    return f"Task {task_id} goes on as soon as a worker is free."


def remove_task(task_id: int) -> str:
    delete_task(task_id)
    return f"Task {task_id} is deleted with its measurements, log and raw results."


def _tell(task_id: int) -> None:
    announce_task(task_id)
    ring_for_task(task_id)


ACTIONS: dict[str, Callable[[int], str]] = {
    "cancel": cancel_task,
    "pause": pause_task,
    "resume": resume_task,
    "delete": remove_task,
}
