"""Tasks: looked at, moved on, handed out, and deleted with all that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from tuning import actions
from tuning.actions import ActionRefused
from tuning.admin.showing import (
    LARGE_OF_EXPERIMENT,
    LeanList,
    ModelAdmin,
    as_json,
    joined,
    list_link,
    page_link,
)
from tuning.admin.task_actions import TASK_ACTIONS
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import DeploymentMode, EngineName
from tuning.doorbell import announce_task
from tuning.models import Experiment, Lease, LogChunk, Measurement, Task
from tuning.models.task import TERMINAL_TASK_STATUSES
from tuning.templatetags.show import NOTHING


class DocumentFilter(admin.SimpleListFilter):
    """By a word of the task document."""

    choices_of: type[StrEnum]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(member.value, member.value) for member in self.choices_of]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        if not self.value():
            return queryset
        return queryset.filter(**{f"spec__{self.parameter_name}": self.value()})


class EngineFilter(DocumentFilter):
    title = "engine"
    parameter_name = "base_runtime"
    choices_of = EngineName


class ModeFilter(DocumentFilter):
    title = "deployment mode"
    parameter_name = "deployment_mode"
    choices_of = DeploymentMode


_SHOWN = (
    "name",
    "description",
    "status",
    "status_reason",
    "owner",
    "best_link",
    "links",
    "planned_experiments",
    "driver",
    "time_limit_s",
    "cancel_requested_at",
    "cancel_reason",
    "created_at",
    "started_at",
    "finished_at",
    "document",
)


@admin.register(Task)
class TaskAdmin(ModelAdmin[Task]):
    """Its document is changed in the site's form, which checks it. Here only a superuser may give
    a task to somebody else."""

    list_display = [
        "__str__",
        "status",
        "owner",
        "best_link",
        "links",
        "created_at",
        "finished_at",
    ]
    list_filter = ["status", EngineFilter, ModeFilter, ("owner", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["name", "description", "=id"]
    search_help_text = "Name, description, or number."
    date_hierarchy = "created_at"
    list_select_related = ["owner", "best_experiment"]
    list_per_page = 25
    show_full_result_count = False
    autocomplete_fields = ["owner"]
    actions = TASK_ACTIONS
    not_listed = [
        "spec",
        "description",
        *(f"best_experiment__{field}" for field in LARGE_OF_EXPERIMENT),
    ]
    fields = _SHOWN

    class Media:
        css = {"all": ["css/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LeanList

    def get_readonly_fields(self, request: HttpRequest, obj: Task | None = None) -> list[str]:
        return [name for name in _SHOWN if name != "owner" or not _is_superuser(request)]

    def get_form(
        self, request: HttpRequest, obj: Task | None = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Task]]:
        form = super().get_form(request, obj, change, **kwargs)
        owner = form.base_fields.get("owner")
        if owner is not None and isinstance(owner.widget, RelatedFieldWidgetWrapper):
            # A cross beside a name looks like "nobody", and would delete the user.
            owner.widget.can_delete_related = False
        return form

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A task begins with a document that is checked: in the site's form, or by the API."""
        return False

    def save_model(
        self, request: HttpRequest, obj: Task, form: ModelForm[Task], change: bool
    ) -> None:
        # The owner alone: a worker may have moved the task on since the form was shown.
        obj.save(update_fields=["owner"])
        announce_task(obj.pk)

    def view_on_site(self, obj: Task) -> str:
        return reverse("task", args=[obj.pk])

    @admin.display(description="best", ordering="best_experiment__objective_value")
    def best_link(self, task: Task) -> SafeString | str:
        best = task.best_experiment
        if best is None:
            return NOTHING
        return page_link(f"experiment {best.number}", "admin:tuning_experiment_change", best.pk)

    @admin.display(description="links")
    def links(self, task: Task) -> SafeString:
        return joined(
            [
                page_link("page", "task", task.pk),
                list_link("experiments", "experiment", task=task.pk),
                list_link("log", "logchunk", task=task.pk),
                list_link("measurements", "measurement", task=task.pk),
            ]
        )

    @admin.display(description="task document")
    def document(self, task: Task) -> SafeString | str:
        return as_json(task.spec)

    def get_deleted_objects(
        self, objs: Iterable[Task], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Counted, not listed: a task may have thousands of measurements. Busy tasks protect
        themselves. To delete what belongs to a task takes no right but that to delete the task."""
        tasks = Task.objects.filter(pk__in=[task.pk for task in objs])
        counts: dict[str, int] = {
            "tasks": tasks.count(),
            "experiments": Experiment.objects.filter(task__in=tasks).count(),
            "measurements": Measurement.objects.filter(experiment__task__in=tasks).count(),
            "pieces of log": LogChunk.objects.filter(task__in=tasks).count(),
        }
        busy = [f"{task} is {task.status}: cancel it first" for task in _busy(tasks)]
        return [str(task) for task in tasks.only("name")], counts, set(), busy

    def delete_model(self, request: HttpRequest, obj: Task) -> None:
        try:
            actions.delete(obj)
        except ActionRefused as refusal:
            # It was started after the question. Nothing but an error stops Django's "deleted".
            raise PermissionDenied(str(refusal)) from refusal

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        for task in queryset:
            self.delete_model(request, task)


def _busy(tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Those that `delete_task` would refuse."""
    leased = Exists(Lease.objects.filter(experiment__task=OuterRef("pk")))
    ended = Q(status__in=[*TERMINAL_TASK_STATUSES, TaskStatus.DRAFT.value])
    return tasks.filter(~ended | leased).only("name", "status")


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and getattr(request.user, "is_superuser", False)
