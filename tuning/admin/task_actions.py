"""What is done to the ticked tasks of the admin's list. Each refusal is told by itself."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import FileResponse, HttpRequest

from tuning.actions import ACTIONS, ActionRefused, TaskAction
from tuning.admin.showing import ModelAdmin
from tuning.exports import ExportFormat, export_results
from tuning.models import Task

TOLD_ONE_BY_ONE = 10
IN_MEMORY_BYTES = 8 << 20
"""A larger export is written to a temporary file."""

Action = Callable[[ModelAdmin[Task], HttpRequest, QuerySet[Task]], Any]


def _action(name: TaskAction, *, done: str) -> Action:
    @admin.action(description=f"{name.value.capitalize()} selected tasks", permissions=["change"])
    def act(model_admin: ModelAdmin[Task], request: HttpRequest, tasks: QuerySet[Task]) -> None:
        told, refused = [], []
        for task in tasks:
            try:
                told.append(ACTIONS[name](task))
            except ActionRefused as refusal:
                refused.append(str(refusal))
            except Task.DoesNotExist:
                refused.append(f"Task {task.pk} was deleted meanwhile.")
            else:
                model_admin.log_change(request, task, f"{done} in the admin.")
        _tell(request, told, messages.SUCCESS)
        _tell(request, refused, messages.WARNING)

    act.__name__ = f"{name.value}_tasks"
    return act


def _tell(request: HttpRequest, texts: list[str], level: int) -> None:
    for text in texts[:TOLD_ONE_BY_ONE]:
        messages.add_message(request, level, text)
    if len(texts) > TOLD_ONE_BY_ONE:
        rest = len(texts) - TOLD_ONE_BY_ONE
        messages.add_message(request, level, f"The same for {rest} more tasks.")


@admin.action(description="Export results of selected tasks (zip of JSON)", permissions=["view"])
def export_tasks(
    model_admin: ModelAdmin[Task], request: HttpRequest, tasks: QuerySet[Task]
) -> FileResponse:
    """One JSON document a task, as its own page gives it."""
    # The response closes it.
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for task in tasks:
            export = export_results(task, ExportFormat.JSON)
            # Numbered, for two tasks may have the same name.
            archive.writestr(f"{task.pk}/{export.filename}", export.content)
    file.seek(0)
    return FileResponse(file, as_attachment=True, filename="autotuner-results.zip")


TASK_ACTIONS: list[Action] = [
    _action(TaskAction.START, done="Started"),
    _action(TaskAction.PAUSE, done="Paused"),
    _action(TaskAction.RESUME, done="Resumed"),
    _action(TaskAction.CANCEL, done="Cancelled"),
    export_tasks,
]
