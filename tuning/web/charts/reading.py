"""What the charts of a task are made of, read with as little of the database as they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.db.models import Count, Max, Q
from django.utils import timezone

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction, latency_name
from tuning.domain.names import FlagValue
from tuning.domain.objectives import Objective
from tuning.domain.spec import TaskSpec
from tuning.formatting import flags
from tuning.models import Measurement, Task
from tuning.models.experiment import BASELINE_NUMBER, FIRST_LAUNCHES
from tuning.progress import best_so_far
from tuning.templatetags.show import failure_name
from tuning.web.charts.load_points import Curve, Sample, curves_of, reduced_of, samples_of

THROUGHPUT = "output_throughput_tokens_per_s"

CURVE_LATENCIES = tuple(
    latency_name(family, statistic)
    for family in ("tpot", "e2e_latency", "ttft")
    for statistic in ("p50", "p99")
)
"""The latencies that can be drawn against the throughput."""

FRONT_LATENCIES = (latency_name("e2e_latency", "p99"), latency_name("ttft", "p99"))
"""Few, because each costs reading a number of every load point of the task."""

MOST_EXPERIMENTS = 1_000
"""The newest ones are drawn; baseline and best always are."""

OTHER_CURVES = 8
"""How many curves are drawn beside those of the best and the baseline."""

_FIELDS = (
    "pk",
    "number",
    "status",
    "parameters",
    "objective_value",
    "score",
    "objective_values",
    "objective_scores",
    "num_failed_requests",
    "purpose",
    "failure_kind",
    "attempt",
    "started_at",
    "finished_at",
    "deploy_s",
    "benchmark_s",
    "cleanup_s",
)


@dataclass(frozen=True, slots=True)
class Run:
    """An experiment, without what is large. Its fields are those of the model."""

    pk: int
    number: int
    status: str
    parameters: Mapping[str, FlagValue]
    objective_value: float | None
    score: float | None
    objective_values: Mapping[str, float]
    objective_scores: Mapping[str, float]
    num_failed_requests: int
    purpose: str
    failure_kind: str
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    deploy_s: float | None
    benchmark_s: float | None
    cleanup_s: float | None

    @property
    def succeeded(self) -> bool:
        return self.status == ExperimentStatus.SUCCESS

    @property
    def is_baseline(self) -> bool:
        return self.number == BASELINE_NUMBER

    @property
    def is_first_launch(self) -> bool:
        return self.purpose in FIRST_LAUNCHES

    @property
    def outcome(self) -> str:
        """The status in words, or the kind of the failure; with a mark where requests failed."""
        words = failure_name(self.failure_kind) or self.status.lower()
        failed = self.num_failed_requests
        return f"{words}, {failed:,} request{'s' if failed > 1 else ''} failed" if failed else words


@dataclass(frozen=True)
class TaskResults:
    """`launches` are in order of their numbers, at most `MOST_EXPERIMENTS` of `total`; `runs` are
    those of them that try a configuration for the first time.

    `reduced` has throughput and `FRONT_LATENCIES` of each success and of a measured baseline, as
    the judging reduces them over the load points; `curves` has some experiments' load points.
    """

    spec: TaskSpec
    launches: Sequence[Run]
    total: int
    best_id: int | None
    reduced: Mapping[int, tuple[float, ...]]
    curves: Sequence[Curve]
    now: datetime

    @property
    def objective(self) -> Objective:
        return self.spec.objective

    @cached_property
    def runs(self) -> Sequence[Run]:
        return [run for run in self.launches if run.is_first_launch]

    @cached_property
    def tuned(self) -> tuple[str, ...]:
        return self.spec.space().tuned

    @cached_property
    def baseline(self) -> Run | None:
        return next((run for run in self.runs if run.is_baseline), None)

    @cached_property
    def by_id(self) -> Mapping[int, Run]:
        return {run.pk: run for run in self.launches}

    @cached_property
    def settings(self) -> Mapping[int, str]:
        """The tuned flags of each run as text."""
        return {run.pk: self._setting(run) for run in self.launches}

    @property
    def is_cut(self) -> bool:
        return len(self.launches) < self.total

    def role(self, run: Run) -> str:
        if run.pk == self.best_id:
            return "best"
        return "baseline" if run.is_baseline else ""

    def _setting(self, run: Run) -> str:
        chosen = {flag: run.parameters[flag] for flag in self.tuned if flag in run.parameters}
        return flags(chosen)


def read_results(task: Task) -> TaskResults:
    """In five queries, whatever the number of experiments."""
    spec = task.parsed_spec()
    best = best_so_far(task, spec.objective)
    best_id = None if best is None else best.pk
    extent = task.experiments.aggregate(newest=Max("number"), total=Count("pk"))
    first = (extent["newest"] or 0) - MOST_EXPERIMENTS + 1
    drawn = Q(number__gte=first) | Q(number=BASELINE_NUMBER) | Q(pk=best_id)
    rows = task.experiments.filter(drawn).order_by("number").values_list(*_FIELDS)
    runs = [Run(*row) for row in rows]
    return TaskResults(
        spec=spec,
        launches=runs,
        total=extent["total"],
        best_id=best_id,
        reduced=_reduced(task, first, best_id),
        curves=read_curves(
            _worth_a_curve([run for run in runs if run.is_first_launch], best_id, spec.objective)
        ),
        now=timezone.now(),
    )


def read_curves(experiment_ids: Sequence[int]) -> list[Curve]:
    """Throughput and `CURVE_LATENCIES` of these experiments, in this order. One query."""
    curves = curves_of(
        read_samples(Q(experiment__in=experiment_ids), (THROUGHPUT, *CURVE_LATENCIES))
    )
    return [curves[pk] for pk in experiment_ids if pk in curves]


def _reduced(task: Task, first: int, best_id: int | None) -> dict[int, tuple[float, ...]]:
    drawn = Q(experiment__number__gte=first) | Q(experiment=best_id)
    # Averages over some of the loads can't be compared with those over all of them.
    judged = Q(
        experiment__status=ExperimentStatus.SUCCESS.value,
        experiment__original__isnull=True,
        experiment__early_end={},
    )
    baseline = Q(experiment__number=BASELINE_NUMBER, experiment__objective_value__isnull=False)
    wanted = Q(experiment__task=task) & ((judged & drawn) | baseline)
    directions = (Direction.MAXIMIZE, *(Direction.MINIMIZE for _ in FRONT_LATENCIES))
    return reduced_of(read_samples(wanted, (THROUGHPUT, *FRONT_LATENCIES)), directions)


def read_samples(wanted: Q, metrics: Sequence[str]) -> list[Sample]:
    """A measurement has dozens of metrics: the database picks those that are drawn."""
    rows = Measurement.objects.filter(wanted).order_by()
    picked = [f"metrics__{name}" for name in metrics]
    return samples_of(rows.values_list("experiment_id", "scenario", "concurrency", *picked))


def _worth_a_curve(runs: Sequence[Run], best_id: int | None, objective: Objective) -> list[int]:
    """The best, the baseline, and the best of the others by score."""
    others = [run for run in runs if run.succeeded and run.pk != best_id and not run.is_baseline]
    sign = -1 if objective.direction is Direction.MAXIMIZE else 1
    others.sort(key=lambda run: sign * (run.score or 0.0))
    marked = [run.pk for run in runs if run.pk == best_id or run.is_baseline]
    return [*marked, *(run.pk for run in others[:OTHER_CURVES])]
