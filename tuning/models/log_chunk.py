"""Log lines of a task, in batches."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from tuning.models.task import Task


class LogChunk(models.Model):
    """Consecutive lines `first_seq`..`last_seq` of one task's log.

    `lines` holds `[unix time in seconds, source, text]` each; the sequence number of a line is
    `first_seq` plus its place.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="log_chunks")
    first_seq = models.PositiveBigIntegerField()
    last_seq = models.PositiveBigIntegerField()
    lines: models.JSONField[Any, list[list[Any]]] = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["task_id", "first_seq"]
        constraints = [
            models.UniqueConstraint(fields=["task", "first_seq"], name="log_chunk_starts_once"),
            models.UniqueConstraint(fields=["task", "last_seq"], name="log_chunk_ends_once"),
            models.CheckConstraint(
                condition=Q(first_seq__gte=1, first_seq__lte=F("last_seq")),
                name="log_chunk_is_not_empty",
            ),
        ]

    def __str__(self) -> str:
        return f"task {self.task_id} lines {self.first_seq}-{self.last_seq}"
