"""The log of tasks, in the pieces in which it is stored."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from tuning.admin.showing import LookOnly, OnlyOf, as_text, page_link
from tuning.models import LogChunk
from tuning.plain_text import plain_line


class TaskOfChunk(OnlyOf):
    title = "task number"
    parameter_name = "task"
    lookup = "task_id"


@admin.register(LogChunk)
class LogChunkAdmin(LookOnly[LogChunk]):
    list_display = ["__str__", "task_link", "number_of_lines", "created_at"]
    list_filter = [TaskOfChunk]
    search_fields = ["task__name"]
    search_help_text = "Name or number of the task."
    task_lookup = "task_id"
    list_select_related = ["task"]
    ordering = ["-id"]
    not_listed = ["lines", "task__spec", "task__description"]
    fields = ["task_link", "first_seq", "last_seq", "created_at", "text"]

    def view_on_site(self, obj: LogChunk) -> str:
        return f"{reverse('task-log', args=[obj.task_id])}#L{obj.first_seq}"

    @admin.display(description="task", ordering="task_id")
    def task_link(self, chunk: LogChunk) -> SafeString:
        return page_link(str(chunk.task), "admin:tuning_task_change", chunk.task_id)

    @admin.display(description="lines")
    def number_of_lines(self, chunk: LogChunk) -> int:
        return chunk.last_seq - chunk.first_seq + 1

    @admin.display(description="lines")
    def text(self, chunk: LogChunk) -> SafeString | str:
        numbered = enumerate(chunk.lines, chunk.first_seq)
        return as_text([_line(number, *line) for number, line in numbered])


def _line(number: int, at: float, source: str, text: str) -> str:
    return f"{number:>7} {datetime.fromtimestamp(at, UTC):%H:%M:%S} {source:12} {plain_line(text)}"
