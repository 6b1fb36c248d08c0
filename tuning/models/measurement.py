"""A measurement: one load point of one experiment."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from tuning.domain.objectives import MeasuredPoint
from tuning.models.experiment import Experiment


class Measurement(models.Model):
    """What one traffic scenario at one concurrency gave, saved as soon as it was there.

    `metrics` maps the names of `tuning.domain.metrics` to seconds, tokens/s and requests/s.
    `raw` is genai-bench's own summary of the point.
    """

    experiment = models.ForeignKey(
        Experiment, on_delete=models.CASCADE, related_name="measurements"
    )
    scenario = models.CharField(max_length=64)
    concurrency = models.PositiveIntegerField()
    repeat = models.PositiveIntegerField(default=0)
    metrics: models.JSONField[Any, dict[str, float]] = models.JSONField()
    num_requests = models.PositiveIntegerField()
    num_failed_requests = models.PositiveIntegerField(default=0)
    duration_s = models.FloatField()
    cache_flush = models.CharField(
        max_length=8,
        blank=True,
        default="",
        help_text="Whether the engine's prefix cache was emptied before: whole, partly or not. "
        "Empty where nobody can tell.",
    )
    raw: models.JSONField[Any, dict[str, Any]] = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["experiment_id", "scenario", "concurrency", "repeat"]
        constraints = [
            models.UniqueConstraint(
                fields=["experiment", "scenario", "concurrency", "repeat"],
                name="measurement_is_taken_once",
            ),
            models.CheckConstraint(
                condition=Q(num_failed_requests__lte=F("num_requests")),
                name="measurement_failed_requests_are_requests",
            ),
            models.CheckConstraint(
                condition=Q(concurrency__gte=1), name="measurement_has_concurrency"
            ),
            models.CheckConstraint(condition=Q(duration_s__gte=0), name="measurement_took_time"),
        ]

    def __str__(self) -> str:
        return f"{self.scenario} at concurrency {self.concurrency}, repeat {self.repeat}"

    def as_point(self) -> MeasuredPoint:
        return MeasuredPoint(
            scenario=self.scenario,
            concurrency=self.concurrency,
            repeat=self.repeat,
            metrics=self.metrics,
            num_requests=self.num_requests,
            num_failed_requests=self.num_failed_requests,
        )
