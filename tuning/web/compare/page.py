"""What the page shows: the comparison, or what there is to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import Http404, QueryDict
from django.urls import reverse

from tuning.domain.lifecycle import ExperimentStatus
from tuning.formatting import flags, metric
from tuning.models import Experiment, Task
from tuning.progress import NOT_SHOWN
from tuning.web.compare.experiments import ExperimentComparison
from tuning.web.compare.selection import MOST, Kind, read_selection
from tuning.web.compare.side_by_side import Group
from tuning.web.compare.tasks import TaskComparison

OFFERED = 12
"""How many tasks or experiments there are to choose from before one searches."""


@dataclass(frozen=True)
class Subject:
    """One of what is compared, or may be. `address` leads to the page without it, or with it."""

    pk: int
    title: str
    detail: str
    link: str
    address: str


class ComparePage:
    """For a user and the query of the address.

    `subjects` raises Http404 when one of them does not exist or is somebody else's.
    """

    def __init__(self, user: User, query: QueryDict) -> None:
        self.selection = read_selection(query)
        self.search = query.get("q", "").strip()[:100]
        self.shows_all = query.get("all") == "1"
        self._visible = Task.objects.visible_to(user)

    @cached_property
    def subjects(self) -> list[Subject]:
        return [self._subject(one, self.selection.without(one.pk)) for one in self._chosen]

    @cached_property
    def comparison(self) -> TaskComparison | ExperimentComparison | None:
        if self.selection.problem:
            return None
        if self.selection.kind is Kind.TASK:
            return TaskComparison([one for one in self._chosen if isinstance(one, Task)])
        return ExperimentComparison([one for one in self._chosen if isinstance(one, Experiment)])

    @cached_property
    def asked(self) -> list[Group]:
        """What was asked for, as far as it differs unless all is wanted; empty if nothing does."""
        lines = self.comparison.asked if self.comparison else []
        shown = [line for line in lines if self.shows_all or line.differs]
        return [Group(shown)] if shown else []

    @property
    def may_add(self) -> bool:
        return len(self.selection.ids) < MOST

    @cached_property
    def offered(self) -> list[Subject]:
        """Those that can be added and match the search, the newest first."""
        if self.selection.kind is Kind.TASK:
            found: Sequence[Task | Experiment] = self._tasks_to_add()
        else:
            found = self._experiments_to_add()
        return [self._subject(one, self.selection.with_another(one.pk)) for one in found]

    @cached_property
    def _chosen(self) -> list[Task | Experiment]:
        """In the order in which they were asked for."""
        ids = self.selection.ids
        found: dict[int, Task | Experiment] = {}
        if self.selection.kind is Kind.TASK:
            found.update(self._visible.in_bulk(ids))
        else:
            experiments = Experiment.objects.defer(*NOT_SHOWN).select_related("task")
            found.update(experiments.filter(task__in=self._visible).in_bulk(ids))
        missing = [one for one in ids if one not in found]
        if missing:
            kind = self.selection.kind
            raise Http404(f"There is no {kind} {missing[0]}, or it belongs to somebody else.")
        return [found[one] for one in ids]

    def _tasks_to_add(self) -> list[Task]:
        found = self._visible.exclude(pk__in=self.selection.ids).defer("spec")
        if self.search:
            found = found.filter(_matches("", self.search))
        return list(found.order_by("-pk")[:OFFERED])

    def _experiments_to_add(self) -> list[Experiment]:
        """Of the tasks of the chosen ones, unless a task is searched for."""
        found = Experiment.objects.filter(
            task__in=self._visible, status=ExperimentStatus.SUCCESS.value
        ).exclude(pk__in=self.selection.ids)
        if self.search:
            found = found.filter(_matches("task__", self.search))
        else:
            found = found.filter(task__in={one.task_id for one in self._chosen_experiments})
        found = found.defer(*NOT_SHOWN).select_related("task")
        return list(found.order_by("-task_id", "number")[:OFFERED])

    @property
    def _chosen_experiments(self) -> list[Experiment]:
        return [one for one in self._chosen if isinstance(one, Experiment)]

    def _subject(self, one: Task | Experiment, address: str) -> Subject:
        if isinstance(one, Task):
            return Subject(
                pk=one.pk,
                title=f"#{one.pk} {one.name}",
                detail=one.status.capitalize(),
                link=reverse("task", args=[one.pk]),
                address=address,
            )
        return Subject(
            pk=one.pk,
            title=f"Experiment {one.number} of #{one.task_id}",
            detail=_described(one),
            link=reverse("experiment", args=[one.pk]),
            address=address,
        )


def _matches(path: str, search: str) -> Q:
    """A task's name or number, reached through `path`."""
    by_name = Q(**{f"{path}name__icontains": search})
    digits = search.removeprefix("#")
    if digits.isascii() and digits.isdigit() and len(digits) <= 18:
        return by_name | Q(**{f"{path}pk": int(digits)})
    return by_name


def _described(experiment: Experiment) -> str:
    name = experiment.task.name
    if experiment.objective_value is None:
        return f"{name}; {flags(experiment.parameters)}"
    spec = experiment.task.parsed_spec()
    return f"{name}; {metric(spec.objective.metric, experiment.objective_value)}"
