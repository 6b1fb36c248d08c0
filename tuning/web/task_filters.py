"""Which tasks the page of tasks shows, and in which order: all of it from its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, cast

from django import forms
from django.contrib.auth.models import User
from django.db.models import Case, CharField, F, IntegerField, OrderBy, When
from django.db.models.functions import Cast, Lower
from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import DeploymentMode, EngineName
from tuning.models.task import TaskQuerySet

NOBODY = "~nobody"
"""Stands for the tasks of `run_task`, which have no owner; no user name has a tilde."""

# What somebody has to look after comes first.
_STATUS_ORDER = (
    TaskStatus.RUNNING,
    TaskStatus.PENDING,
    TaskStatus.PAUSED,
    TaskStatus.DRAFT,
    TaskStatus.FAILED,
    TaskStatus.CANCELLED,
    TaskStatus.COMPLETED,
)

_SORTS: Mapping[str, Any] = {
    "id": F("pk"),
    "name": Lower("name"),
    "engine": Cast(F("spec__base_runtime"), CharField()),
    "status": Case(
        *[When(status=status.value, then=place) for place, status in enumerate(_STATUS_ORDER)],
        output_field=IntegerField(),
    ),
    "gain": F("gain"),
    "owner": Lower("owner__username"),
    "created": F("created_at"),
    "duration": F("duration"),
}
DEFAULT_SORT = "-id"
BEST_FIRST = frozenset({"gain", "created", "duration", "id"})
"""Sorted from the largest down at the first click."""


class TaskFilters(forms.Form):
    """The filters as a form. What is invalid in it is left out, and `problems` tells of it."""

    q = forms.CharField(
        required=False,
        max_length=200,
        label="Search",
        widget=forms.TextInput(
            attrs={
                "type": "search",
                "placeholder": "name, description, model, #number",
                "autocomplete": "off",
            }
        ),
    )
    status = forms.ChoiceField(required=False, choices=[(one.value, one) for one in TaskStatus])
    engine = forms.ChoiceField(
        required=False,
        label="Engine",
        choices=[("", "any"), *((one.value, one.value) for one in EngineName)],
    )
    mode = forms.ChoiceField(
        required=False,
        label="Mode",
        choices=[("", "any"), *((one.value, one.value) for one in DeploymentMode)],
    )
    owner = forms.ChoiceField(required=False, label="Owner")
    since = forms.DateField(
        required=False, label="Created from", widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        required=False, label="Created to", widget=forms.DateInput(attrs={"type": "date"})
    )
    sort = forms.ChoiceField(
        required=False, choices=[(sign + name, name) for name in _SORTS for sign in ("", "-")]
    )

    def __init__(self, query: QueryDict, user: User) -> None:
        super().__init__(query, auto_id="filter-%s", label_suffix="")
        if user.has_perm("tuning.view_task"):
            field = cast(forms.ChoiceField, self.fields["owner"])
            field.choices = [("", "anybody"), *_owners(), (NOBODY, "nobody (command line)")]
        else:
            del self.fields["owner"]
        self.full_clean()

    def clean(self) -> dict[str, Any]:
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and since > until:
            self.add_error(None, "No day is both after the first date and before the second.")
        return self.cleaned_data

    @property
    def problems(self) -> Sequence[str]:
        return [
            f"{self[name].label}: {message}" if name in self.fields else str(message)
            for name, messages in self.errors.items()
            for message in messages
        ]

    @property
    def is_narrowed(self) -> bool:
        """Whether any filter but the order is set."""
        return bool(set(self._given()) - {"sort"})

    @property
    def is_sorted(self) -> bool:
        """Whether the order is another than the usual one."""
        return self.chosen_sort != DEFAULT_SORT

    @property
    def chosen_status(self) -> str:
        return str(self.cleaned_data.get("status", ""))

    @property
    def chosen_sort(self) -> str:
        return self.cleaned_data.get("sort") or DEFAULT_SORT

    def narrow(self, tasks: TaskQuerySet, *, by_status: bool = True) -> TaskQuerySet:
        """The tasks that pass every valid filter."""
        values = self._given()
        if "q" in values:
            tasks = tasks.matching(values["q"])
        conditions: dict[str, Any] = {}
        if by_status and "status" in values:
            conditions["status"] = values["status"]
        if "engine" in values:
            conditions["spec__base_runtime"] = values["engine"]
        if "mode" in values:
            conditions["spec__deployment_mode"] = values["mode"]
        if "owner" in values:
            nobody = values["owner"] == NOBODY
            conditions["owner__username"] = None if nobody else values["owner"]
        if "since" in values:
            conditions["created_at__gte"] = _moment(values["since"], time.min)
        if "until" in values:
            conditions["created_at__lte"] = _moment(values["until"], time.max)
        return tasks.filter(**conditions)

    def order(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """What has no value to sort by comes last in both directions."""
        name = self.chosen_sort.removeprefix("-")
        if name == "gain":
            tasks = tasks.with_gain()
        elif name == "duration":
            tasks = tasks.with_duration()
        falling = self.chosen_sort.startswith("-")
        nulls_last = True if name in {"gain", "duration", "owner"} else None
        return tasks.order_by(
            OrderBy(_SORTS[name], descending=falling, nulls_last=nulls_last), "-pk"
        )

    def query(self, **changes: str) -> str:
        """The valid filters as a query string, some of them changed; '' takes one away."""
        given = {name: str(value) for name, value in self._given().items()}
        return urlencode([(name, value) for name, value in (given | changes).items() if value])

    def address(self, **changes: str) -> str:
        """The page of tasks with these filters, some of them changed."""
        query = self.query(**changes)
        return reverse("task-list") + (f"?{query}" if query else "")

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if value}


@dataclass(frozen=True)
class Chip:
    """A status to filter by. `count` is of the tasks that pass all other filters."""

    key: str
    label: str
    count: int
    address: str
    is_current: bool


@dataclass(frozen=True)
class Heading:
    """A column. `sorted` is what aria-sort says; `address` is '' where one can't sort by it."""

    key: str
    label: str
    address: str = ""
    sorted: str = ""
    is_number: bool = False


def status_chips(filters: TaskFilters, tasks: TaskQuerySet) -> list[Chip]:
    """All, and each status; one query."""
    counts = filters.narrow(tasks, by_status=False).count_by_status()
    chosen = filters.chosen_status
    everything = Chip("", "All", sum(counts.values()), filters.address(status=""), not chosen)
    return [everything] + [
        Chip(
            key=status.value,
            label=status.value.capitalize(),
            count=counts.get(status.value, 0),
            address=filters.address(status=status.value),
            is_current=status.value == chosen,
        )
        for status in _STATUS_ORDER
    ]


def headings(filters: TaskFilters, *, with_owner: bool) -> list[Heading]:
    return [
        _sortable(filters, "id", "#", is_number=True),
        _sortable(filters, "name", "Task"),
        _sortable(filters, "engine", "Engine"),
        _sortable(filters, "status", "Status"),
        Heading("progress", "Progress"),
        Heading("best", "Best", is_number=True),
        _sortable(filters, "gain", "Gain", is_number=True),
        *([_sortable(filters, "owner", "Owner")] if with_owner else []),
        _sortable(filters, "created", "Created"),
        _sortable(filters, "duration", "Duration", is_number=True),
    ]


def _sortable(filters: TaskFilters, key: str, label: str, *, is_number: bool = False) -> Heading:
    chosen = filters.chosen_sort
    rising, falling = key, f"-{key}"
    if chosen in {rising, falling}:
        following = rising if chosen == falling else falling
    else:
        following = falling if key in BEST_FIRST else rising
    return Heading(
        key=key,
        label=label,
        address=filters.address(sort="" if following == DEFAULT_SORT else following),
        sorted={rising: "ascending", falling: "descending"}.get(chosen, ""),
        is_number=is_number,
    )


def _owners() -> list[tuple[str, str]]:
    owners = User.objects.filter(tuning_tasks__isnull=False).distinct().order_by("username")
    return [(name, name) for name in owners.values_list("username", flat=True)]


def _moment(day: date, at: time) -> datetime:
    return datetime.combine(day, at, tzinfo=UTC)
