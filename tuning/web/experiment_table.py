"""The table of a task's experiments: one page of it, sorted over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from django.core.paginator import Page, Paginator
from django.db.models import F, Prefetch, QuerySet
from django.db.models.expressions import Expression
from django.db.models.fields.json import KeyTransform

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import METRICS, Direction
from tuning.domain.names import FlagValue
from tuning.domain.objectives import Objective
from tuning.domain.slo import Slo
from tuning.domain.spec import TaskSpec
from tuning.formatting import metric_label
from tuning.models import Experiment, Measurement, Task
from tuning.models.experiment import BASELINE_NUMBER
from tuning.models.ordered_json import ComparableKey
from tuning.progress import NOT_SHOWN
from tuning.reports import HEADLINE_METRICS, headline_metrics

PAGE_SIZE = 100
OBJECTIVE_PREFIX = "objective."
FLAG_PREFIX = "flag."
"""Before a flag's name in `?sort=`, so that no flag can be mistaken for a column of ours."""


@dataclass(frozen=True)
class Column:
    """A heading. `key` is what `?sort=` calls it, empty where sorting is not offered.

    `sorted` is how the table is sorted by it now, in the words of `aria-sort`; `next_sort` is what
    a click asks for.
    """

    label: str
    key: str = ""
    title: str = ""
    is_number: bool = True
    sorted: str = ""
    next_sort: str = ""


@dataclass(frozen=True)
class Row:
    """One experiment. `flags`, `values` (of the objectives) and `metrics` are in the order of the
    columns. `again` says of which one it is a further launch."""

    experiment: Experiment
    is_best: bool
    again: str
    flags: tuple[FlagValue | None, ...]
    values: tuple[tuple[str, float | None], ...]
    metrics: tuple[tuple[str, float | None], ...]
    broken: tuple[str, ...]

    @property
    def is_partial(self) -> bool:
        """Whether its metrics are of fewer loads than those of others."""
        return bool(self.experiment.early_end)


@dataclass(frozen=True)
class Chip:
    """A status to filter by, empty for all, with the number of its experiments."""

    status: str
    count: int
    is_chosen: bool


class ExperimentTable:
    """What `?sort=-objective&status=FAILED&page=2` asks for. Nonsense counts as not asked.

    `counts` has the number of the task's experiments by status.
    """

    def __init__(
        self,
        task: Task,
        spec: TaskSpec,
        counts: Mapping[str, int],
        best: Experiment | None,
        query: Mapping[str, str],
    ) -> None:
        self._task = task
        self._spec = spec
        self._counts = counts
        self._best = best
        self.flags = spec.space().tuned
        self._objectives = {_objective_key(spec, one): one for one in spec.objectives}
        self.shows_score = len(spec.objectives) == 1 and any(is_soft(slo) for slo in spec.slos)
        self._sort_keys = _sort_keys(
            self.flags, tuple(self._objectives), with_score=self.shows_score
        )
        asked = query.get("sort", "")
        self.sort = asked if asked.removeprefix("-") in self._sort_keys else "number"
        self.status = query.get("status", "") if query.get("status") in counts else ""
        self._page_number = query.get("page", "1")

    @cached_property
    def page(self) -> Page[Experiment]:
        paginator = Paginator(self._sorted(), PAGE_SIZE)
        # Known already, which saves the query that would count them again.
        counts = self._counts
        paginator.count = counts[self.status] if self.status else sum(counts.values())
        return paginator.get_page(self._page_number)

    @property
    def page_numbers(self) -> Iterator[str | int]:
        """The first, the last and those near the current one; an ellipsis for what is between."""
        return self.page.paginator.get_elided_page_range(self.page.number, on_each_side=2)

    @cached_property
    def rows(self) -> list[Row]:
        return [self._row(experiment) for experiment in self.page.object_list]

    @property
    def has_partial(self) -> bool:
        return any(row.is_partial for row in self.rows)

    @property
    def chips(self) -> list[Chip]:
        every = Chip("", sum(self._counts.values()), not self.status)
        by_status = [
            Chip(status.value, self._counts[status.value], status.value == self.status)
            for status in ExperimentStatus
            if status.value in self._counts
        ]
        return [every, *by_status]

    @property
    def failures(self) -> list[Experiment]:
        """One experiment for each kind of failure on this page, for its hint."""
        failed = [row.experiment for row in self.rows if row.experiment.failure_kind]
        return list({one.failure_kind: one for one in failed}.values())

    @property
    def columns(self) -> list[Column]:
        score = Column("Score", "score", "The objective after the penalties of soft SLOs.")
        columns = [
            Column("#", "number", "Number of the experiment; 0 is the baseline."),
            Column("Status", "status", is_number=False),
            *(Column(flag, FLAG_PREFIX + flag) for flag in self.flags),
            *self._objective_columns(),
            *([score] if self.shows_score else []),
            *(Column(_heading(name), title=_described(name)) for name in self._headline_metrics()),
            Column("SLOs", is_number=False),
            Column("Time", "duration", "From the launch to the end of its last attempt."),
        ]
        return [self._with_sort(column) for column in columns]

    def _objective_columns(self) -> Iterator[Column]:
        the = "The objective" if len(self._spec.objectives) == 1 else "An objective"
        for key, objective in self._objectives.items():
            title = f"{the}: {objective.direction} {METRICS[objective.metric].description}."
            yield Column(_heading(objective.metric), key, title)

    def _sorted(self) -> QuerySet[Experiment]:
        key = self._sort_keys[self.sort.removeprefix("-")]
        descending = self.sort.startswith("-")
        order = key.desc(nulls_last=True) if descending else key.asc(nulls_last=True)
        measurements = Prefetch("measurements", Measurement.objects.defer("raw"))
        found = self._task.experiments.defer(*NOT_SHOWN).prefetch_related(measurements)
        found = found.annotate(original_number=F("original__number"))
        if self.status:
            found = found.filter(status=self.status)
        return found.order_by(order, "number")

    def _row(self, experiment: Experiment) -> Row:
        points = [measurement.as_point() for measurement in experiment.measurements.all()]
        metrics = headline_metrics(points, *self._spec.objectives)
        return Row(
            experiment=experiment,
            is_best=self._best is not None and experiment.pk == self._best.pk,
            again=_again(experiment),
            flags=tuple(experiment.parameters.get(flag) for flag in self.flags),
            values=tuple(
                (one.metric, experiment.value_of(one.metric)) for one in self._spec.objectives
            ),
            metrics=tuple((name, metrics[name]) for name in self._headline_metrics()),
            broken=tuple(
                metric_label(verdict["metric"])
                for verdict in experiment.slo_verdicts
                if not verdict["is_met"]
            ),
        )

    def _headline_metrics(self) -> list[str]:
        asked = {one.metric for one in self._spec.objectives}
        return [name for name in HEADLINE_METRICS if name not in asked]

    def _with_sort(self, column: Column) -> Column:
        """The best first where there is a better; everything else from small to large."""
        objective = self._objectives.get("objective" if column.key == "score" else column.key)
        maximized = objective is not None and objective.direction is Direction.MAXIMIZE
        first = f"-{column.key}" if maximized else column.key
        other = first.removeprefix("-") if first.startswith("-") else f"-{first}"
        direction = {column.key: "ascending", f"-{column.key}": "descending"}
        return Column(
            label=column.label,
            key=column.key,
            title=column.title,
            is_number=column.is_number,
            sorted=direction.get(self.sort, "") if column.key else "",
            next_sort=other if self.sort == first else first,
        )


def is_soft(slo: Slo) -> bool:
    """Whether breaking it may cost no more than a penalty: the score is then not the value."""
    return not slo.hard or slo.fail_ratio > 0


def _objective_key(spec: TaskSpec, objective: Objective) -> str:
    """What `?sort=` calls it: the first one `objective`, the others by their metric, too."""
    return "objective" if objective == spec.objective else OBJECTIVE_PREFIX + objective.metric


def _again(experiment: Experiment) -> str:
    """`verification of 2, round 1`, `… of baseline, round 1`; empty for a first launch."""
    if experiment.is_first_launch:
        return ""
    # Type checkers don't know annotations as attributes.
    number = vars(experiment)["original_number"]
    original = "baseline" if number == BASELINE_NUMBER else number
    return f"{experiment.purpose} of {original}, round\u00a0{experiment.round}"


def _sort_keys(
    flags: tuple[str, ...], objectives: tuple[str, ...], *, with_score: bool
) -> dict[str, F | Expression]:
    """The headline metrics are not among them: they would need every measurement of the task."""
    others = [key for key in objectives if key.startswith(OBJECTIVE_PREFIX)]
    return {
        "number": F("number"),
        "status": F("status"),
        "objective": F("objective_value"),
        **{
            key: KeyTransform(key.removeprefix(OBJECTIVE_PREFIX), "objective_values")
            for key in others
        },
        **({"score": F("score")} if with_score else {}),
        "duration": F("finished_at") - F("started_at"),
        **{FLAG_PREFIX + flag: ComparableKey(flag, "parameters") for flag in flags},
    }


def _heading(metric: str) -> str:
    label = metric_label(metric)
    return label[0].upper() + label[1:]


def _described(metric: str) -> str:
    described = METRICS[metric]
    unit = f", in {described.unit}" if described.unit else ""
    return f"{described.description.capitalize()}{unit}."
