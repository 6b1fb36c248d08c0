"""A task: what a user asked to tune, and how far that has come."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.db import models
from django.db.models import Case, Count, DurationField, F, OuterRef, Q, Subquery, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, Now
from django.utils import timezone

from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.domain.metrics import Direction
from tuning.domain.objectives import NAMED_OBJECTIVES
from tuning.domain.spec import TaskSpec, parse_task
from tuning.domain.verdict import Reference
from tuning.domain.warm_start import EarlierTask, in_words
from tuning.models.choices import choices_of, ended_exactly_when, is_one_of
from tuning.models.ordered_json import OrderedJSONField

TERMINAL_TASK_STATUSES = [status.value for status in TaskStatus if status.is_terminal]

_MINIMIZING_NAMES = [
    name
    for name, objective in NAMED_OBJECTIVES.items()
    if objective.direction is Direction.MINIMIZE
]
_MINIMIZES = (
    Q(spec__optimization__objective__direction=Direction.MINIMIZE.value)
    | Q(spec__optimization__objective__in=_MINIMIZING_NAMES)
    | Q(spec__optimization__objective__0__direction=Direction.MINIMIZE.value)
    | Q(spec__optimization__objective__0__in=_MINIMIZING_NAMES)
)
"""The first objective as `write_objectives` stores it: by name, or with its direction; alone, or
in a list."""


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

    def matching(self, text: str) -> TaskQuerySet:
        """Tasks that have the text in their name, description or model, or as their number;
        `#17` is the task of that number alone."""
        number = text.removeprefix("#")
        is_number = number.isascii() and number.isdigit()
        with_number = Q(pk=int(number)) if is_number else Q(pk__in=[])
        if text.startswith("#") and is_number:
            return self.filter(with_number)
        return self.filter(
            Q(name__icontains=text)
            | Q(description__icontains=text)
            | Q(spec__model__id_or_path__icontains=text)
            | with_number
        )

    def count_by_status(self) -> dict[str, int]:
        counted = self.order_by("status").values_list("status").annotate(Count("pk"))
        return dict(counted)

    def with_best(self) -> TaskQuerySet:
        """Adds `best_id`: the best experiment; of a task that has not ended the best so far.

        Where a score alone does not tell, the orchestrator has chosen it already.
        """
        successes = (
            apps.get_model("tuning", "Experiment")
            .objects.filter(
                task=OuterRef("pk"),
                status=ExperimentStatus.SUCCESS.value,
                original__isnull=True,
            )
            .values("pk")
        )
        is_chosen = Q(finished_at__isnull=False) | Q(best_experiment__isnull=False)
        return self.annotate(
            best_id=Case(
                When(is_chosen, then=F("best_experiment_id")),
                When(_MINIMIZES, then=Subquery(successes.order_by("score", "number")[:1])),
                default=Subquery(successes.order_by("-score", "number")[:1]),
            )
        )

    def with_gain(self) -> TaskQuerySet:
        """Adds `gain` of the best over the baseline, to sort by: as it was verified, or else as
        `objectives.gain` defines it."""
        experiments = apps.get_model("tuning", "Experiment").objects.values("objective_value")
        ratio = F("best_value") / F("baseline_value")
        return (
            self.with_best()
            .alias(
                best_value=Subquery(experiments.filter(pk=OuterRef("best_id"))),
                baseline_value=Subquery(experiments.filter(task=OuterRef("pk"), number=0)),
            )
            .annotate(
                gain=Case(
                    When(
                        verdicts__0__against=Reference.BASELINE.value,
                        then=Cast(KT("verdicts__0__gain"), models.FloatField()),
                    ),
                    When(baseline_value=0, then=None),
                    When(_MINIMIZES, then=Value(1.0) - ratio),
                    default=ratio - Value(1.0),
                    output_field=models.FloatField(),
                )
            )
        )

    def with_duration(self) -> TaskQuerySet:
        """Adds `duration`, to sort by: as `Task.duration_s`."""
        end = Coalesce(F("finished_at"), Now())
        return self.annotate(
            duration=models.ExpressionWrapper(end - F("started_at"), output_field=DurationField())
        )


class Task(models.Model):
    """One tuning task. `spec` is the normalised task document; parse it with `parsed_spec`."""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    spec: models.JSONField[Any, dict[str, Any]] = OrderedJSONField()
    status = models.CharField(
        max_length=16, choices=choices_of(TaskStatus), default=TaskStatus.PENDING.value
    )
    status_reason = models.TextField(
        blank=True, help_text="Why the task ended as it did, in one sentence."
    )
    best_experiment = models.ForeignKey(
        "tuning.Experiment",
        null=True,
        blank=True,
        # It may only go together with its task: a completed task has a best experiment.
        on_delete=models.RESTRICT,
        related_name="+",
    )
    verdicts: models.JSONField[Any, list[dict[str, Any]]] = models.JSONField(
        default=list,
        blank=True,
        help_text="What verification says of the winner, for each objective.",
    )
    warm_start: models.JSONField[Any, list[dict[str, Any]] | None] = models.JSONField(
        null=True,
        blank=True,
        default=None,
        help_text="The earlier tasks that the search started from, with their similarity and the "
        "experiments it learns from; empty while that is not decided, or was not asked for.",
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

    @property
    def duration_s(self) -> float | None:
        """Seconds since it was started (or resumed), until its end; None if it never was."""
        if self.started_at is None:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    @property
    def earlier_tasks(self) -> list[EarlierTask]:
        """Those that the search started from, the most similar first."""
        return [EarlierTask.of_document(one) for one in self.warm_start or ()]

    @property
    def started_from(self) -> str:
        """The same as a sentence; empty while it is not decided, or was not asked for."""
        return "" if self.warm_start is None else in_words(self.earlier_tasks)

    def parsed_spec(self) -> TaskSpec:
        return parse_task(self.spec)
