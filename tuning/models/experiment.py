"""An experiment: one configuration of the engine, launched and measured."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.names import FlagValue
from tuning.models.choices import choices_of, ended_exactly_when, is_one_of
from tuning.models.task import Task

FULL_FIDELITY = "full"
BASELINE_NUMBER = 0

TERMINAL_EXPERIMENT_STATUSES = [status.value for status in ExperimentStatus if status.is_terminal]
RUNNING_EXPERIMENT_STATUSES = [status.value for status in ExperimentStatus if status.is_running]


class Experiment(models.Model):
    """One configuration. `attempt` counts its launches, from 1 at the first claim.

    `objective_value` is the objective's metric in its own unit; `score` is that value after the
    penalties of soft SLOs. Both are set for every configuration measured to the end, also for one
    that breaks a hard SLO; only an experiment with status SUCCESS may be compared by its score.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="experiments")
    number = models.PositiveIntegerField(help_text="0 is the baseline.")
    parameters: models.JSONField[Any, dict[str, FlagValue]] = models.JSONField(default=dict)
    configuration_hash = models.CharField(max_length=64)
    fidelity = models.CharField(max_length=32, default=FULL_FIDELITY)
    status = models.CharField(
        max_length=16,
        choices=choices_of(ExperimentStatus),
        default=ExperimentStatus.PENDING.value,
    )
    attempt = models.PositiveIntegerField(default=0)
    gpus_needed = models.PositiveIntegerField(
        default=0, help_text="Known once a worker has tried to run it."
    )
    waiting_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when there were too few free GPUs for it."
    )

    failure_kind = models.CharField(
        max_length=32, blank=True, choices=choices_of(FailureKind), default=""
    )
    failure_message = models.TextField(blank=True, default="")
    log_tail: models.JSONField[Any, list[str]] = models.JSONField(default=list)

    objective_value = models.FloatField(null=True, blank=True)
    score = models.FloatField(null=True, blank=True)
    slo_verdicts: models.JSONField[Any, list[dict[str, Any]]] = models.JSONField(default=list)

    early_end: models.JSONField[Any, dict[str, Any]] = models.JSONField(
        default=dict,
        help_text="Why not all of its loads were measured, and which; empty when they were.",
    )

    command: models.JSONField[Any, list[str]] = models.JSONField(default=list)
    environment: models.JSONField[Any, dict[str, Any]] = models.JSONField(default=dict)

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    deploy_s = models.FloatField(null=True, blank=True, help_text="From the launch to healthy.")
    benchmark_s = models.FloatField(null=True, blank=True, help_text="Warm-up and all load points.")
    cleanup_s = models.FloatField(null=True, blank=True, help_text="Stopping the engine.")

    class Meta:
        ordering = ["task_id", "number"]
        indexes = [
            # For lists of one status, the newest first.
            models.Index(fields=["status", "-id"], name="experiment_by_status"),
            # Without it, what asks for a status within some tasks would go through that one.
            models.Index(fields=["status", "task"], name="experiment_by_status_and_task"),
            models.Index(
                fields=["waiting_since"],
                condition=Q(waiting_since__isnull=False),
                name="experiment_waiting",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="experiment_number_is_unique"),
            models.UniqueConstraint(
                fields=["task", "configuration_hash", "fidelity"],
                name="experiment_configuration_is_tried_once",
            ),
            models.CheckConstraint(
                condition=is_one_of("status", ExperimentStatus), name="experiment_status_is_known"
            ),
            models.CheckConstraint(
                condition=ended_exactly_when(TERMINAL_EXPERIMENT_STATUSES),
                name="experiment_is_finished_iff_it_has_an_end",
            ),
            models.CheckConstraint(
                condition=Q(status=ExperimentStatus.FAILED.value, failure_kind__gt="")
                | (~Q(status=ExperimentStatus.FAILED.value) & Q(failure_kind="")),
                name="experiment_failed_iff_it_has_a_kind",
            ),
            models.CheckConstraint(
                condition=~Q(status=ExperimentStatus.SUCCESS.value)
                | Q(objective_value__isnull=False, score__isnull=False),
                name="experiment_success_has_a_score",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=RUNNING_EXPERIMENT_STATUSES) | Q(attempt__gte=1),
                name="experiment_running_was_claimed",
            ),
            models.CheckConstraint(
                condition=Q(waiting_since__isnull=True)
                | ~Q(status__in=RUNNING_EXPERIMENT_STATUSES),
                name="experiment_running_does_not_wait",
            ),
        ]

    def __str__(self) -> str:
        return f"task {self.task_id} experiment {self.number}"

    @property
    def state(self) -> ExperimentStatus:
        return ExperimentStatus(self.status)

    @property
    def is_baseline(self) -> bool:
        return self.number == BASELINE_NUMBER

    @property
    def failure(self) -> Failure | None:
        if not self.failure_kind:
            return None
        return Failure(FailureKind(self.failure_kind), self.failure_message)

    @property
    def duration_s(self) -> float | None:
        """Seconds of its last attempt, all phases together."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()
