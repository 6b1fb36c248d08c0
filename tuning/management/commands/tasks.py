"""`manage.py tasks`: the tasks there are, and what a user can do to one of them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Q
from rich.table import Table

from tuning.actions import ACTIONS, ActionRefused, TaskAction
from tuning.database import DatabaseNotReady, prepare_database
from tuning.models import Task
from tuning.models.experiment import TERMINAL_EXPERIMENT_STATUSES
from tuning.terminal.console import output_console
from tuning.terminal.session import EXIT_BAD_INPUT

LISTED = 50


class Command(BaseCommand):
    help = "List tasks, or start, cancel, pause, resume or delete one. Workers carry it out."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action",
            nargs="?",
            choices=["list", *map(str, TaskAction)],
            default="list",
            help="default: list",
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
            self.stdout.write(ACTIONS[TaskAction(action)](Task.objects.get(pk=task_id)))
        except Task.DoesNotExist:
            raise CommandError(
                f"{action}: there is no task {task_id}.", returncode=EXIT_BAD_INPUT
            ) from None
        except (DatabaseNotReady, ActionRefused) as refusal:
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
