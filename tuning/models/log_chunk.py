"""Log lines of a task, in batches."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from tuning.models.task import Task


class LogChunkQuerySet(models.QuerySet["LogChunk"]):
    """The chunks of one task. Each method is one query, by index."""

    def start_of(self, seq: int) -> int | None:
        """The first line of the chunk that holds line `seq`, or of the next one; None after all."""
        holding = self.filter(last_seq__gte=seq).order_by("last_seq")
        return holding.values_list("first_seq", flat=True).first()

    def lines(self, start: int, first: int, last: int) -> list[list[Any]]:
        """`[seq, unix time in seconds, source, text]` of the lines from `first` to `last`, in
        order. `start` is `start_of(first)`."""
        found = self.filter(first_seq__gte=start, first_seq__lte=last).order_by("first_seq")
        return [
            [first_seq + place, *line]
            for first_seq, chunk in found.values_list("first_seq", "lines")
            for place, line in enumerate(chunk)
            if first <= first_seq + place <= last
        ]


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

    objects = LogChunkQuerySet.as_manager()

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
