"""What the page of an experiment shows, each part read when a template first asks for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from controllers.base import CacheFlush
from tuning.domain.metrics import METRICS, latency_name
from tuning.domain.names import FlagValue
from tuning.domain.objectives import Objective, gain
from tuning.domain.parameters import same_value
from tuning.domain.planning import most_load_points, seeks_goodput
from tuning.domain.spec import TaskSpec
from tuning.formatting import comparison, duration, metric, metric_label, significant
from tuning.models import Experiment, Measurement, Task
from tuning.models.experiment import BASELINE_NUMBER
from tuning.plain_text import plain_line
from tuning.progress import NOT_SHOWN, best_so_far, seconds_in_phase
from tuning.web.early_end import EarlyEnd, early_end_of
from tuning.web.environment import facts_in_a_line, facts_to_unfold
from tuning.web.raw_files import raw_files, results_directory

POINT_METRICS = (
    "output_throughput_tokens_per_s",
    "total_throughput_tokens_per_s",
    "requests_per_s",
    latency_name("ttft", "p50"),
    latency_name("ttft", "p99"),
    latency_name("tpot", "p50"),
    latency_name("tpot", "p99"),
    latency_name("e2e_latency", "p50"),
    latency_name("e2e_latency", "p90"),
    latency_name("e2e_latency", "p99"),
)
"""The columns of the measurements."""

_NOT_WHOLLY = frozenset({CacheFlush.NOT.value, CacheFlush.PARTLY.value})
_WORST_FLUSH_FIRST = (CacheFlush.NOT.value, CacheFlush.PARTLY.value, "", CacheFlush.WHOLE.value)


@dataclass(frozen=True)
class FlagRow:
    """A flag as this experiment, the baseline and the best one set it; None where they do not."""

    name: str
    value: FlagValue | None
    baseline: FlagValue | None
    best: FlagValue | None

    @property
    def differs_from_baseline(self) -> bool:
        return not _alike(self.value, self.baseline)

    @property
    def differs_from_best(self) -> bool:
        return not _alike(self.value, self.best)


@dataclass(frozen=True)
class ObjectiveLine:
    """The value by one objective, and that of the baseline."""

    objective: Objective
    value: float | None
    baseline: float | None

    @property
    def gain(self) -> float | None:
        return gain(self.value, self.baseline, self.objective)


@dataclass(frozen=True)
class PointRow:
    """One repeat of a load point, or the median of all its repeats (`repeat` is then None).

    `metrics` are as people read them, in the order of `POINT_METRICS`.
    """

    concurrency: int
    repeat: int | None
    repeats: int
    metrics: tuple[str, ...]
    num_requests: int
    num_failed_requests: int
    duration_s: float
    unflushed: int = 0
    """Measurements before which the prefix cache was not wholly emptied."""
    cache_flush: str = ""
    """The worst of its measurements; empty where nobody can tell."""


@dataclass(frozen=True)
class Phase:
    """A phase of the last attempt. `start` and `share` are in percent of all phases."""

    name: str
    duration_s: float
    start: float
    share: float

    @property
    def lasted(self) -> str:
        """Engines of small models stop in milliseconds."""
        short = self.duration_s < 10
        return f"{significant(self.duration_s)} s" if short else duration(self.duration_s)


class ExperimentPage:
    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.task: Task = experiment.task
        self.point_columns = [
            (metric_label(name), _unit_in_heading(name)) for name in POINT_METRICS
        ]

    @cached_property
    def spec(self) -> TaskSpec:
        return self.task.parsed_spec()

    @property
    def is_live(self) -> bool:
        return not self.experiment.state.is_terminal

    @property
    def seen(self) -> str:
        """What has to change before a live page is worth swapping."""
        return f"{self.experiment.status}/{self.experiment.attempt}/{self.measured_points}"

    @cached_property
    def best(self) -> Experiment | None:
        return best_so_far(self.task, self.spec.objective)

    @property
    def is_best(self) -> bool:
        return self.best is not None and self.best.pk == self.experiment.pk

    @property
    def baseline(self) -> Experiment | None:
        return self._by_number.get(BASELINE_NUMBER)

    @property
    def previous(self) -> Experiment | None:
        return self._by_number.get(self.experiment.number - 1)

    @property
    def next(self) -> Experiment | None:
        return self._by_number.get(self.experiment.number + 1)

    @property
    def values(self) -> list[tuple[Objective, float | None]]:
        """Of each objective of the task."""
        return [(one, self.experiment.value_of(one.metric)) for one in self.spec.objectives]

    @property
    def objective_lines(self) -> list[ObjectiveLine]:
        return [
            ObjectiveLine(
                one, value, None if self.baseline is None else self.baseline.value_of(one.metric)
            )
            for one, value in self.values
        ]

    @property
    def gain(self) -> float | None:
        if self.baseline is None or self.experiment.is_baseline:
            return None
        values = self.experiment.objective_value, self.baseline.objective_value
        return gain(*values, self.spec.objective)

    @property
    def compared(self) -> str:
        """The gain as a ratio. Only where there is a gain."""
        value = self.experiment.objective_value
        baseline = None if self.baseline is None else self.baseline.objective_value
        if value is None or baseline is None:
            return ""
        return comparison(self.spec.objective, value, baseline)

    @property
    def flags(self) -> list[FlagRow]:
        """In the order of the task file."""
        baseline = {} if self.baseline is None else self.baseline.parameters
        best = {} if self.best is None else self.best.parameters
        own = self.experiment.parameters
        return [
            FlagRow(name, own.get(name), baseline.get(name), best.get(name))
            for name in self.spec.parameters
        ]

    @cached_property
    def scenarios(self) -> Mapping[str, Sequence[PointRow]]:
        """The measurements of each scenario, with a row more for the median of repeats."""
        found = self.experiment.measurements.defer("raw")
        points: dict[str, dict[int, list[Measurement]]] = {}
        for one in found.order_by("scenario", "concurrency", "repeat"):
            points.setdefault(one.scenario, {}).setdefault(one.concurrency, []).append(one)
        in_order = sorted(points, key=self._place_in_task)
        return {
            scenario: [row for repeats in points[scenario].values() for row in _rows(repeats)]
            for scenario in in_order
        }

    @property
    def expected_points(self) -> int:
        """At most, since some may be left out."""
        repeats = 1 if seeks_goodput(self.spec) else self.spec.benchmark.repeats_per_launch
        return most_load_points(self.spec) * repeats

    @property
    def measured_points(self) -> int:
        rows = [row for rows in self.scenarios.values() for row in rows]
        return sum(row.repeats == 1 or row.repeat is not None for row in rows)

    @property
    def unflushed_points(self) -> int:
        """Measurements before which the engine's prefix cache was not wholly emptied."""
        rows = [row for rows in self.scenarios.values() for row in rows]
        return sum(row.unflushed for row in rows if row.repeats == 1 or row.repeat is not None)

    @property
    def phases(self) -> list[Phase]:
        experiment = self.experiment
        lasted = {
            "deploy": experiment.deploy_s,
            "benchmark": experiment.benchmark_s,
            "cleanup": experiment.cleanup_s,
        }
        return _phases({name: seconds for name, seconds in lasted.items() if seconds is not None})

    @property
    def phase_s(self) -> float | None:
        """Seconds for which the experiment has been in the phase in which it is now."""
        return seconds_in_phase(self.experiment, timezone.now())

    @property
    def command(self) -> str:
        return shlex.join(self.experiment.command)

    @property
    def log_tail(self) -> str:
        return "\n".join(plain_line(line) for line in self.experiment.log_tail)

    @cached_property
    def early_end(self) -> EarlyEnd | None:
        return early_end_of(self.experiment, self.spec.objective)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is known of the environment in a line each, by name."""
        return facts_in_a_line(self.experiment.environment)

    @property
    def folded_facts(self) -> list[tuple[str, Any]]:
        """What takes many lines, such as the objects made in a cluster, by name."""
        return facts_to_unfold(self.experiment.environment)

    @property
    def has_raw_files(self) -> bool:
        """Whether genai-bench's own files are there, complete: a running benchmark writes more."""
        if self.is_live:
            return False
        directory = results_directory(settings.AUTOTUNER_RESULTS_DIR, self.experiment)
        return next(raw_files(directory), None) is not None

    @cached_property
    def _by_number(self) -> dict[int, Experiment]:
        """The baseline and the neighbours. One query."""
        number = self.experiment.number
        wanted = Q(number__in=[BASELINE_NUMBER, number - 1, number + 1])
        found = self.task.experiments.defer(*NOT_SHOWN).filter(wanted)
        return {one.number: one for one in found}

    def _place_in_task(self, scenario: str) -> int:
        scenarios = self.spec.benchmark.traffic_scenarios
        return scenarios.index(scenario) if scenario in scenarios else len(scenarios)


def raw_document(experiment: Experiment) -> dict[str, Any]:
    """Every measurement as genai-bench summed it up, with the load point that it belongs to."""
    return {
        "task_id": experiment.task_id,
        "task_name": experiment.task.name,
        "experiment_id": experiment.pk,
        "number": experiment.number,
        "parameters": experiment.parameters,
        "measurements": [
            {
                "scenario": one.scenario,
                "concurrency": one.concurrency,
                "repeat": one.repeat,
                "raw": one.raw,
            }
            for one in experiment.measurements.all()
        ],
    }


def _alike(left: FlagValue | None, right: FlagValue | None) -> bool:
    if left is None or right is None:
        return left is right
    return same_value(left, right)


def _rows(repeats: Sequence[Measurement]) -> list[PointRow]:
    single = [_row([one], one.repeat, len(repeats)) for one in repeats]
    return single if len(repeats) == 1 else [_row(repeats, None, len(repeats)), *single]


def _row(measurements: Sequence[Measurement], repeat: int | None, repeats: int) -> PointRow:
    """Metrics are medians, requests and seconds are sums."""
    return PointRow(
        concurrency=measurements[0].concurrency,
        repeat=repeat,
        repeats=repeats,
        metrics=tuple(_cell(name, _median(measurements, name)) for name in POINT_METRICS),
        num_requests=sum(one.num_requests for one in measurements),
        num_failed_requests=sum(one.num_failed_requests for one in measurements),
        duration_s=sum(one.duration_s for one in measurements),
        unflushed=sum(one.cache_flush in _NOT_WHOLLY for one in measurements),
        cache_flush=_worst_flush(measurements),
    )


def _worst_flush(measurements: Sequence[Measurement]) -> str:
    told = {one.cache_flush for one in measurements}
    return next((one for one in _WORST_FLUSH_FIRST if one in told), "")


def _median(measurements: Sequence[Measurement], name: str) -> float | None:
    """None where a repeat lacks the metric, as the objective has it."""
    values = [one.metrics.get(name) for one in measurements]
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) else None


def _unit_in_heading(name: str) -> str:
    """Empty for times, which have seconds or milliseconds in each cell."""
    unit = METRICS[name].unit
    return "" if unit == "s" else unit


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "\N{EN DASH}"
    return significant(value) if _unit_in_heading(name) else metric(name, value)


def _phases(lasted: Mapping[str, float]) -> list[Phase]:
    total_s = sum(lasted.values())
    phases: list[Phase] = []
    passed_s = 0.0
    for name, seconds in lasted.items():
        percent = 100 / total_s if total_s else 0.0
        phases.append(Phase(name, seconds, passed_s * percent, seconds * percent))
        passed_s += seconds
    return phases
