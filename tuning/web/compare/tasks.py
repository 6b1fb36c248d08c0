"""Tasks side by side: what they asked for, what came out, and how they got there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils import timezone

from tuning import formatting
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.objectives import MeasuredPoint
from tuning.domain.spec import TaskSpec
from tuning.formatting import duration, flags, metric, metric_label
from tuning.models import Experiment, Measurement, Task
from tuning.models.experiment import BASELINE_NUMBER, FIRST_LAUNCHES
from tuning.reports import HEADLINE_METRICS, headline_metrics
from tuning.verdicts import gain_over_baseline, verdicts_of
from tuning.web.charts.chart import Chart, Choice, Column, Row, counted, measure, table
from tuning.web.charts.history import best_so_far
from tuning.web.charts.reading import read_curves
from tuning.web.charts.tradeoffs import curves_of_many
from tuning.web.compare.side_by_side import (
    Group,
    Line,
    metric_line,
    spec_lines,
    text_line,
    warnings,
)

_FIELDS = (
    "pk",
    "number",
    "status",
    "parameters",
    "objective_value",
    "score",
    "started_at",
    "finished_at",
    "purpose",
    "objective_values",
    "early_end",
    "num_requests",
    "num_failed_requests",
)
_LABEL_LENGTH = 28


@dataclass(frozen=True, slots=True)
class Run:
    """An experiment as far as it counts here. Its fields are those of the model."""

    pk: int
    number: int
    status: str
    parameters: Mapping[str, Any]
    objective_value: float | None
    score: float | None
    started_at: datetime | None
    finished_at: datetime | None
    purpose: str
    objective_values: Mapping[str, float]
    early_end: Mapping[str, Any]
    num_requests: int
    num_failed_requests: int

    @property
    def is_baseline(self) -> bool:
        return self.number == BASELINE_NUMBER

    def value_of(self, metric: str) -> float | None:
        """By one of the task's objectives; experiments of older releases know only one."""
        if not self.objective_values:
            return self.objective_value
        return self.objective_values.get(metric)


@dataclass(frozen=True)
class Step:
    """A new best: of which experiment, and how many seconds after the task's first launch."""

    run: Run
    elapsed_s: float


class ComparedTask:
    """One of the tasks, with its experiments in the order of their numbers."""

    def __init__(self, task: Task, runs: Sequence[Run]) -> None:
        self.task = task
        self.runs = runs

    @cached_property
    def spec(self) -> TaskSpec:
        return self.task.parsed_spec()

    @property
    def label(self) -> str:
        """Short enough for a legend."""
        name = self.task.name
        return (
            f"#{self.task.pk} {name if len(name) <= _LABEL_LENGTH else name[:_LABEL_LENGTH] + '…'}"
        )

    @cached_property
    def steps(self) -> list[Step]:
        scored = (
            (run.number, run.score, run.objective_value)
            for run in self.runs
            if run.status == ExperimentStatus.SUCCESS
            and run.purpose in FIRST_LAUNCHES
            and run.score is not None
            and run.objective_value is not None
        )
        by_number = {run.number: run for run in self.runs}
        found = best_so_far(scored, self.spec.objective.direction)
        return [Step(by_number[number], self.elapsed_s(by_number[number])) for number, _ in found]

    @property
    def best(self) -> Run | None:
        """As the orchestrator has chosen it; before it had to, the last new best."""
        if self.task.best_experiment_id is not None:
            return next((run for run in self.runs if run.pk == self.task.best_experiment_id), None)
        return self.steps[-1].run if self.steps else None

    @property
    def baseline(self) -> Run | None:
        return next((run for run in self.runs if run.is_baseline), None)

    @property
    def gain(self) -> float | None:
        return gain_over_baseline(self.task, self.spec.objective, self.best, self.baseline)

    @property
    def verdict(self) -> str:
        """What is known of the gain, for each objective."""
        verdicts = verdicts_of(self.task, self.spec.objectives, self.best, self.baseline)
        if len(verdicts) == 1:
            return formatting.verdict(verdicts[0])
        return "; ".join(
            f"{metric_label(one.metric)} {formatting.verdict(one)}" for one in verdicts
        )

    @property
    def failed_requests(self) -> str:
        """Those of the best."""
        best = self.best
        if best is None:
            return "-"
        return formatting.failed_requests(best.num_failed_requests, best.num_requests) or "none"

    @property
    def best_values(self) -> str:
        """`1991 tokens/s output throughput; 171 ms TTFT p99`."""
        best = self.best
        return "; ".join(
            f"{metric(one.metric, best.value_of(one.metric) if best else None)} "
            f"{metric_label(one.metric)}"
            for one in self.spec.objectives
        )

    @property
    def failed(self) -> int:
        return sum(run.status == ExperimentStatus.FAILED for run in self.runs)

    @property
    def duration_s(self) -> float | None:
        if self.task.started_at is None:
            return None
        return ((self.task.finished_at or timezone.now()) - self.task.started_at).total_seconds()

    def elapsed_s(self, run: Run) -> float:
        """Until the experiment's end; 0 where times are missing."""
        starts = [one.started_at for one in self.runs if one.started_at]
        if not starts or run.finished_at is None:
            return 0.0
        return max(0.0, (run.finished_at - min(starts)).total_seconds())


class TaskComparison:
    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks

    @cached_property
    def compared(self) -> list[ComparedTask]:
        runs: dict[int, list[Run]] = {task.pk: [] for task in self._tasks}
        rows = Experiment.objects.filter(task__in=runs).order_by("task_id", "number")
        for task_id, *fields in rows.values_list("task_id", *_FIELDS):
            runs[task_id].append(Run(*fields))
        return [ComparedTask(task, runs[task.pk]) for task in self._tasks]

    @property
    def warnings(self) -> list[str]:
        return warnings([one.spec for one in self.compared])

    @property
    def asked(self) -> list[Line]:
        """The task files."""
        return spec_lines([one.spec for one in self.compared])

    @cached_property
    def results(self) -> list[Group]:
        compared = self.compared
        lengths = ("-" if one.duration_s is None else duration(one.duration_s) for one in compared)
        lines = [
            text_line("Status", (one.task.status.capitalize() for one in compared)),
            self._best_line(),
            text_line("Gain", (formatting.gain(one.gain) or "-" for one in compared)),
            text_line("Verified", (one.verdict or "-" for one in compared)),
            text_line("Failed requests", (one.failed_requests for one in compared)),
            *self._headline_lines(),
            text_line("Best settings", (self._settings(one) for one in compared)),
            text_line("Experiments", (str(len(one.runs)) for one in compared)),
            text_line("Failed", (str(one.failed) for one in compared)),
            text_line("Duration", lengths),
        ]
        return [Group(lines)]

    @cached_property
    def charts(self) -> list[Chart]:
        return [self._curves(), progress_chart(self.compared)]

    def _best_line(self) -> Line:
        metrics = {tuple(one.metric for one in task.spec.objectives) for task in self.compared}
        if len(metrics) == 1 and len(*metrics) == 1:
            ((name,),) = metrics
            values = [one.best.value_of(name) if one.best else None for one in self.compared]
            return replace(metric_line(name, values), label="Best value")
        return text_line("Best value", (one.best_values for one in self.compared))

    def _headline_lines(self) -> list[Line]:
        points: dict[int, list[MeasuredPoint]] = {}
        best_ids = [one.best.pk for one in self.compared if one.best]
        for row in Measurement.objects.defer("raw").filter(experiment__in=best_ids):
            points.setdefault(row.experiment_id, []).append(row.as_point())
        # Averages over some of the loads can't be compared with those over all of them.
        measured = [
            headline_metrics(points.get(one.best.pk, []), *one.spec.objectives)
            if one.best and not one.best.early_end
            else {}
            for one in self.compared
        ]
        return [
            metric_line(name, [metrics.get(name) for metrics in measured])
            for name in HEADLINE_METRICS
        ]

    def _settings(self, one: ComparedTask) -> str:
        if one.best is None:
            return "-"
        tuned = one.spec.space().tuned
        return flags(
            {name: one.best.parameters[name] for name in tuned if name in one.best.parameters}
        )

    def _curves(self) -> Chart:
        labels = {one.best.pk: one.label for one in self.compared if one.best}
        curves = read_curves(list(labels))
        chart = curves_of_many(curves, [(labels[curve.experiment_id], "") for curve in curves])
        return replace(chart, title="Best configurations under load")


def progress_chart(compared: Sequence[ComparedTask]) -> Chart:
    """The best so far of each task with the first one's objective."""
    objective = compared[0].spec.objective
    chart = Chart(
        key="progress",
        kind="progress",
        title="Best so far",
        reading="Where each task found a better configuration, in the order of its experiments or "
        "over the time since its first launch.",
    )
    same = [one for one in compared if one.spec.objective == objective]
    drawn = [one for one in same if one.steps]
    if not drawn:
        return replace(chart, nothing="None of the tasks has a success yet.")
    left_out = len(compared) - len(same)
    return replace(
        chart,
        summary="; ".join(
            f"{one.label}: {counted(len(one.steps) - 1, 'improvement')}" for one in drawn
        )
        + ".",
        data={"measure": measure(objective.metric), "tasks": [_course(one) for one in drawn]},
        choices=(Choice("over", "Over", (("experiments", "experiments"), ("time", "time"))),),
        table=table(
            _COURSE_COLUMNS,
            [(one, step) for one in drawn for step in one.steps],
            lambda item: _course_row(*item),
        ),
        notes=(f"{counted(left_out, 'task')} with another objective left out.",)
        if left_out
        else (),
    )


_COURSE_COLUMNS = (
    Column("Task", is_number=False),
    Column("Experiment"),
    Column("After"),
    Column("New best"),
)


def _course(one: ComparedTask) -> dict[str, Any]:
    """Steps are number, seconds, value, primary key; `last` is number and seconds."""
    ended = [run for run in one.runs if run.finished_at]
    return {
        "label": one.label,
        "steps": [
            [step.run.number, step.elapsed_s, step.run.objective_value, step.run.pk]
            for step in one.steps
        ],
        "last": [ended[-1].number, max(one.elapsed_s(run) for run in ended)],
    }


def _course_row(one: ComparedTask, step: Step) -> Row:
    shown = metric(one.spec.objective.metric, step.run.objective_value)
    return Row((one.label, str(step.run.number), duration(step.elapsed_s), shown), step.run.pk)
