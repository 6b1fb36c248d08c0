"""Experiments side by side, also those of different tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.db.models import Q

from tuning.domain.spec import TaskSpec
from tuning.formatting import duration, failed_requests
from tuning.models import Experiment
from tuning.reports import HEADLINE_METRICS
from tuning.templatetags.show import failure_name
from tuning.web.charts.chart import Chart, capitalised
from tuning.web.charts.load_points import Curve, curves_of
from tuning.web.charts.reading import read_curves, read_samples
from tuning.web.charts.tradeoffs import curves_of_many
from tuning.web.compare.side_by_side import (
    Group,
    Line,
    metric_line,
    parameter_lines,
    spec_lines,
    text_line,
    warnings,
)


@dataclass(frozen=True)
class Scenario:
    """What each experiment gave under one kind of traffic, a group for each concurrency."""

    name: str
    groups: Sequence[Group]


class ExperimentComparison:
    def __init__(self, experiments: Sequence[Experiment]) -> None:
        self._experiments = experiments

    @cached_property
    def _specs(self) -> Mapping[int, TaskSpec]:
        tasks = {one.task_id: one.task for one in self._experiments}
        return {task_id: task.parsed_spec() for task_id, task in tasks.items()}

    @property
    def warnings(self) -> list[str]:
        return warnings(list(self._specs.values()))

    @property
    def asked(self) -> list[Line]:
        """Their parameters, and the rest of the task files where these are several."""
        parameters = parameter_lines([one.parameters for one in self._experiments])
        if len(self._specs) == 1:
            return parameters
        specs = [self._specs[one.task_id] for one in self._experiments]
        return [*parameters, *spec_lines(specs, without=["parameters"])]

    @property
    def results(self) -> list[Group]:
        experiments = self._experiments
        lines = [
            text_line("Outcome", (_outcome(one) for one in experiments)),
            *self._objective_lines(),
            text_line("Failed requests", (_failed(one) for one in experiments)),
            text_line("Starting the engine", (_length(one.deploy_s) for one in experiments)),
            text_line("Measuring", (_length(one.benchmark_s) for one in experiments)),
        ]
        return [Group(lines)]

    @cached_property
    def scenarios(self) -> list[Scenario]:
        wanted = Q(experiment__in=[one.pk for one in self._experiments])
        curves = curves_of(read_samples(wanted, self._metrics))
        loads: dict[str, set[int]] = {}
        for curve in curves.values():
            for name, points in curve.scenarios.items():
                loads.setdefault(name, set()).update(point.concurrency for point in points)
        return [
            Scenario(
                name,
                [
                    Group(self._at(curves, name, concurrency), f"Concurrency {concurrency}")
                    for concurrency in sorted(concurrencies)
                ],
            )
            for name, concurrencies in loads.items()
        ]

    @cached_property
    def charts(self) -> list[Chart]:
        labels = {one.pk: f"{one.number} of #{one.task_id}" for one in self._experiments}
        curves = read_curves(list(labels))
        return [curves_of_many(curves, [(labels[curve.experiment_id], "") for curve in curves])]

    @cached_property
    def _metrics(self) -> tuple[str, ...]:
        """Those of every page, and what the tasks were after."""
        objectives = (one.metric for spec in self._specs.values() for one in spec.objectives)
        return tuple(dict.fromkeys((*HEADLINE_METRICS, *objectives)))

    def _objective_lines(self) -> list[Line]:
        """One for each objective: values of different metrics are never in one line."""
        metrics = {
            pk: [objective.metric for objective in spec.objectives]
            for pk, spec in self._specs.items()
        }
        return [
            metric_line(
                name,
                [
                    one.value_of(name) if name in metrics[one.task_id] else None
                    for one in self._experiments
                ],
            )
            for name in dict.fromkeys(name for names in metrics.values() for name in names)
        ]

    def _at(self, curves: Mapping[int, Curve], scenario: str, concurrency: int) -> list[Line]:
        values = [_values(curves.get(one.pk), scenario, concurrency) for one in self._experiments]
        return [
            metric_line(name, [None if found is None else found[position] for found in values])
            for position, name in enumerate(self._metrics)
        ]


def _values(
    curve: Curve | None, scenario: str, concurrency: int
) -> tuple[float | None, ...] | None:
    points = () if curve is None else curve.scenarios.get(scenario, ())
    return next((point.values for point in points if point.concurrency == concurrency), None)


def _outcome(experiment: Experiment) -> str:
    return capitalised(failure_name(experiment.failure_kind) or experiment.status.lower())


def _failed(experiment: Experiment) -> str:
    return failed_requests(experiment.num_failed_requests, experiment.num_requests) or "none"


def _length(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
