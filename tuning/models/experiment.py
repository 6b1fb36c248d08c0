"""An experiment: one configuration of the engine, launched and measured."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus
from tuning.domain.names import FlagValue
from tuning.models.choices import choices_of, ended_exactly_when, is_one_of
from tuning.models.ordered_json import OrderedJSONField
from tuning.models.task import Task

FULL_FIDELITY = "full"
BASELINE_NUMBER = 0

TERMINAL_EXPERIMENT_STATUSES = [status.value for status in ExperimentStatus if status.is_terminal]
FIRST_LAUNCHES = [purpose.value for purpose in ExperimentPurpose if purpose.is_first_launch]
"""Purposes of experiments that a search may call the best."""

RUNNING_EXPERIMENT_STATUSES = [status.value for status in ExperimentStatus if status.is_running]


class Experiment(models.Model):
    """One configuration. `attempt` counts its launches, from 1 at the first claim.

    `objective_value` is the objective's metric in its own unit; `score` is that value after the
    penalties of soft SLOs. Both are set for every configuration measured to the end, also for one
    that breaks a hard SLO; only an experiment with status SUCCESS may be compared by its score.
    Of several objectives these are the first one's; `objective_values` and `objective_scores` have
    all of them by metric.

    An experiment that launches another's configuration again names that as its `original`, and in
    which `round`.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="experiments")
    number = models.PositiveIntegerField(help_text="0 is the baseline.")
    parameters: models.JSONField[Any, dict[str, FlagValue]] = OrderedJSONField(default=dict)
    configuration_hash = models.CharField(max_length=64)
    purpose = models.CharField(
        max_length=16,
        choices=choices_of(ExperimentPurpose),
        default=ExperimentPurpose.SEARCH.value,
    )
    original = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="launched_again",
        help_text="The experiment whose configuration is launched again.",
    )
    round = models.PositiveIntegerField(
        null=True, blank=True, help_text="Counts the further launches of the original, from 1."
    )
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
    host = models.CharField(
        max_length=255, blank=True, default="", help_text="Of the worker that ran it last."
    )
    only_on = models.CharField(
        max_length=255, blank=True, default="", help_text="The only host that may run it, if any."
    )

    failure_kind = models.CharField(
        max_length=32, blank=True, choices=choices_of(FailureKind), default=""
    )
    failure_message = models.TextField(blank=True, default="")
    log_tail: models.JSONField[Any, list[str]] = models.JSONField(default=list)

    objective_value = models.FloatField(null=True, blank=True)
    score = models.FloatField(null=True, blank=True)
    objective_values: models.JSONField[Any, dict[str, float]] = models.JSONField(
        default=dict, blank=True
    )
    objective_scores: models.JSONField[Any, dict[str, float]] = models.JSONField(
        default=dict, blank=True
    )
    num_requests = models.PositiveIntegerField(default=0, help_text="Of all its measurements.")
    num_failed_requests = models.PositiveIntegerField(default=0)
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
                condition=Q(purpose__in=FIRST_LAUNCHES),
                name="experiment_configuration_is_tried_once",
            ),
            models.UniqueConstraint(
                fields=["original", "purpose", "round"],
                name="experiment_is_launched_again_once_per_round",
            ),
            models.CheckConstraint(
                condition=is_one_of("purpose", ExperimentPurpose),
                name="experiment_purpose_is_known",
            ),
            models.CheckConstraint(
                condition=Q(purpose=ExperimentPurpose.BASELINE.value, number=BASELINE_NUMBER)
                | (~Q(purpose=ExperimentPurpose.BASELINE.value) & Q(number__gt=BASELINE_NUMBER)),
                name="experiment_baseline_is_number_zero",
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=FIRST_LAUNCHES, original__isnull=True, round__isnull=True)
                | (~Q(purpose__in=FIRST_LAUNCHES) & Q(original__isnull=False, round__isnull=False)),
                name="experiment_launches_again_iff_it_has_an_original",
            ),
            models.CheckConstraint(
                condition=Q(num_failed_requests__lte=F("num_requests")),
                name="experiment_failed_requests_are_requests",
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
    def why(self) -> ExperimentPurpose:
        return ExperimentPurpose(self.purpose)

    @property
    def is_first_launch(self) -> bool:
        return self.why.is_first_launch

    @property
    def is_baseline(self) -> bool:
        return self.number == BASELINE_NUMBER

    @property
    def failure(self) -> Failure | None:
        if not self.failure_kind:
            return None
        return Failure(FailureKind(self.failure_kind), self.failure_message)

    @property
    def title(self) -> str:
        """`Baseline`, `Experiment 7`, `Experiment 9 (verification, round 2)`."""
        if self.is_baseline:
            return "Baseline"
        again = "" if self.is_first_launch else f" ({self.purpose}, round {self.round})"
        return f"Experiment {self.number}{again}"

    def value_of(self, metric: str) -> float | None:
        """By one of the task's objectives; experiments of older releases know only one."""
        if not self.objective_values:
            return self.objective_value
        return self.objective_values.get(metric)

    @property
    def duration_s(self) -> float | None:
        """Seconds of its last attempt, all phases together."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()
