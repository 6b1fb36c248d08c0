"""A task: what a user asked to tune, and how far that has come."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.db import models
from django.db.models import Q

from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import TaskSpec, parse_task
from tuning.models.choices import choices_of, ended_exactly_when, is_one_of

TERMINAL_TASK_STATUSES = [status.value for status in TaskStatus if status.is_terminal]


class TaskQuerySet(models.QuerySet["Task"]):
    def visible_to(self, user: AbstractUser | AnonymousUser) -> TaskQuerySet:
        """What a user may see: superusers and those with the right to view tasks see all, others
        their own."""
        if not user.is_authenticated:
            return self.none()
        if user.has_perm("tuning.view_task"):
            return self
        return self.filter(owner_id=user.pk)

    def changeable_by(self, user: AbstractUser | AnonymousUser) -> TaskQuerySet:
        """What a user may start, stop, change and delete: their own, or all with the right to
        change tasks."""
        if not user.is_authenticated:
            return self.none()
        if user.has_perm("tuning.change_task"):
            return self
        return self.filter(owner_id=user.pk)

    def open(self) -> TaskQuerySet:
        """Tasks that have not ended."""
        return self.filter(finished_at__isnull=True)

    def for_workers(self) -> TaskQuerySet:
        """Tasks that were started, and that no process runs by itself."""
        return self.filter(driver="").exclude(status=TaskStatus.DRAFT.value)


class Task(models.Model):
    """One tuning task. `spec` is the normalised task document; parse it with `parsed_spec`."""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    spec: models.JSONField[Any, dict[str, Any]] = models.JSONField()
    status = models.CharField(
        max_length=16, choices=choices_of(TaskStatus), default=TaskStatus.PENDING.value
    )
    status_reason = models.TextField(
        blank=True, help_text="Why the task ended as it did, in one sentence."
    )
    best_experiment = models.ForeignKey(
        "tuning.Experiment", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    planned_experiments = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How many experiments the task will have, with its baseline; empty if nobody "
        "can say.",
    )
    driver = models.CharField(
        max_length=255,
        blank=True,
        default="",
        help_text="The process that runs the task by itself (run_task); empty for the workers.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="tuning_tasks",
    )
    time_limit_s = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds after which the task is cancelled."
    )
    cancel_reason = models.TextField(blank=True, default="")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TaskQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=is_one_of("status", TaskStatus), name="task_status_is_known"
            ),
            models.CheckConstraint(
                condition=ended_exactly_when(TERMINAL_TASK_STATUSES),
                name="task_is_finished_iff_it_has_an_end",
            ),
            models.CheckConstraint(
                condition=~Q(status=TaskStatus.COMPLETED.value) | Q(best_experiment__isnull=False),
                name="task_completed_has_a_best_experiment",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.name}"

    @property
    def state(self) -> TaskStatus:
        return TaskStatus(self.status)

    def parsed_spec(self) -> TaskSpec:
        return parse_task(self.spec)
