"""What the page of a task shows.

Each part is read when a template first asks for it, so that a fragment costs no more than what it
shows, and nothing reads all experiments of a task: there may be ten thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.utils import timezone

from tuning.actions import TaskAction, possible_actions
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.domain.names import FlagValue
from tuning.domain.objectives import Objective
from tuning.domain.parameters import Choices, Fixed, FloatRange, IntRange, Parameter
from tuning.domain.planning import may_leave_out_loads, most_load_points
from tuning.domain.slo import Slo
from tuning.domain.spec import TaskSpec
from tuning.domain.verdict import GainVerdict
from tuning.estimates import Capacity
from tuning.formatting import comparison, flag_value
from tuning.fronts import FrontMember, read_front
from tuning.models import Experiment, Measurement, Task
from tuning.models.experiment import BASELINE_NUMBER, RUNNING_EXPERIMENT_STATUSES
from tuning.progress import (
    NOT_SHOWN,
    Verifying,
    best_so_far,
    seconds_in_phase,
    seconds_to_go,
    starts_of,
)
from tuning.reports import headline_metrics
from tuning.verdicts import about, gain_over_baseline, verdicts_of
from tuning.web.experiment_table import ExperimentTable

RECENT_EXPERIMENTS = 200
"""How many of the last experiments say how long the next ones will take."""

EXPORTS: Sequence[tuple[str, str]] = (
    ("json", "Results as JSON"),
    ("csv", "Results as CSV"),
    ("yaml", "Results as YAML"),
    ("html", "Report as one HTML file"),
    ("task-json", "Task file as JSON"),
    ("task-yaml", "Task file as YAML"),
)
"""The kinds that `task-export` knows, and what a user gets."""


@dataclass(frozen=True)
class Confirmation:
    """What is asked before an action that loses something."""

    action: TaskAction
    question: str
    consequence: str
    yes: str
    no: str


CONFIRMATIONS: Mapping[TaskAction, Confirmation] = {
    TaskAction.CANCEL: Confirmation(
        TaskAction.CANCEL,
        "Cancel this task?",
        "The running experiment is stopped, and its result is lost. What was measured before is "
        "kept, and the task can be resumed.",
        "Cancel the task",
        "Go on",
    ),
    TaskAction.DELETE: Confirmation(
        TaskAction.DELETE,
        "Delete this task?",
        "Its experiments, measurements, log and raw results are deleted, too. Nobody can bring "
        "them back.",
        "Delete the task",
        "Keep it",
    ),
}


@dataclass(frozen=True)
class Button:
    """An action that is possible now. With a confirmation, the button opens its dialog."""

    action: TaskAction
    confirmation: Confirmation | None


@dataclass(frozen=True)
class Running:
    """An experiment that runs now, and for how many seconds it has been in its phase."""

    experiment: Experiment
    phase_s: float | None


@dataclass(frozen=True)
class Progress:
    """`total` counts the baseline too. `eta_s` is None when nobody can say."""

    finished: int
    total: int
    running: Sequence[Running]
    eta_s: float | None


@dataclass(frozen=True)
class BestSoFar:
    """`flags` are the varying ones, `values` those of the objectives by metric, `metrics` the
    headline metrics beside them."""

    experiment: Experiment
    flags: Mapping[str, FlagValue | None]
    values: Mapping[str, float | None]
    metrics: Mapping[str, float | None]
    gain: float | None
    verdicts: Sequence[GainVerdict]
    compared: str

    @property
    def is_verified(self) -> bool:
        """Whether the verdicts say more of the gain than the search did."""
        return any(one.is_verified for one in about(self.experiment, self.verdicts))


@dataclass(frozen=True)
class ObjectiveLine:
    """One of several objectives: its value of the best and of the baseline, and what is known of
    the difference."""

    objective: Objective
    value: float | None
    baseline: float | None
    verdict: GainVerdict | None


@dataclass(frozen=True)
class AskedSlo:
    """A limit that the task file sets, or that every task has. A plain hard one has no `note`."""

    metric: str
    limit: str
    note: str


@dataclass(frozen=True)
class AskedParameter:
    """A parameter of the task file; `count` is None for a continuous range."""

    name: str
    is_tuned: bool
    values: str
    count: int | None


class TaskPage:
    def __init__(self, task: Task, user: User, query: Mapping[str, str]) -> None:
        self.task = task
        self.exports = EXPORTS
        self.confirmations = tuple(CONFIRMATIONS.values())
        self._user = user
        self._query = query

    @cached_property
    def spec(self) -> TaskSpec:
        return self.task.parsed_spec()

    @cached_property
    def may_change(self) -> bool:
        return Task.objects.changeable_by(self._user).filter(pk=self.task.pk).exists()

    @property
    def is_of_another(self) -> bool:
        return self.task.owner_id != self._user.pk

    @property
    def buttons(self) -> list[Button]:
        if not self.may_change:
            return []
        actions = possible_actions(self.task)
        return [Button(action, CONFIRMATIONS.get(action)) for action in actions]

    @property
    def may_edit(self) -> bool:
        return self.task.state is TaskStatus.DRAFT and self.may_change

    @property
    def has_results(self) -> bool:
        return self._finished > 0

    @property
    def seen(self) -> str:
        """What has to change before charts and winner are worth another look."""
        return f"{self.task.status}/{self._finished}"

    @property
    def most_points(self) -> int:
        """Load points of one experiment, if none is left out."""
        return most_load_points(self.spec)

    @property
    def may_leave_out_points(self) -> bool:
        return may_leave_out_loads(self.spec)

    @property
    def planned_launches(self) -> int:
        """Of a draft, those that verify its winner."""
        planned = self.task.planned_experiments or 0
        launches = 2 * self.spec.optimization.verification
        return launches if planned > launches + 1 else 0

    @property
    def planned_configurations(self) -> int:
        """Of a draft, with the baseline; 0 where nobody can say."""
        return (self.task.planned_experiments or 0) - self.planned_launches

    @cached_property
    def progress(self) -> Progress:
        # A search may end before its plan does: then what was tried is all there is.
        planned = 0 if self.task.state.is_terminal else self.task.planned_experiments or 0
        total = max(planned, sum(self._counts.values()))
        running = [one for one in self._landmarks if one.state.is_running]
        return Progress(
            finished=self._finished,
            total=total,
            running=[Running(one, seconds_in_phase(one, timezone.now())) for one in running],
            eta_s=self._eta_s(total, running),
        )

    @cached_property
    def best(self) -> BestSoFar | None:
        best = self._best_experiment
        if best is None:
            return None
        objective = self.spec.objective
        points = [
            one.as_point() for one in Measurement.objects.defer("raw").filter(experiment=best)
        ]
        metrics = headline_metrics(points, *self.spec.objectives)
        asked = {one.metric for one in self.spec.objectives}
        return BestSoFar(
            experiment=best,
            flags={flag: best.parameters.get(flag) for flag in self.spec.space().tuned},
            values={one.metric: best.value_of(one.metric) for one in self.spec.objectives},
            metrics={name: value for name, value in metrics.items() if name not in asked},
            gain=gain_over_baseline(self.task, objective, best, self.baseline),
            verdicts=self.verdicts,
            compared=_compared(objective, best, self.baseline),
        )

    @property
    def objective_lines(self) -> list[ObjectiveLine]:
        """Once there is a best."""
        best, baseline = self._best_experiment, self.baseline
        by_metric = {one.metric: one for one in self.verdicts}
        return [
            ObjectiveLine(
                one,
                None if best is None else best.value_of(one.metric),
                None if baseline is None else baseline.value_of(one.metric),
                by_metric.get(one.metric),
            )
            for one in self.spec.objectives
        ]

    @property
    def baseline(self) -> Experiment | None:
        return next((one for one in self._landmarks if one.number == BASELINE_NUMBER), None)

    @property
    def verdicts(self) -> Sequence[GainVerdict]:
        """Once something is known of the gain."""
        return verdicts_of(self.task, self.spec.objectives, self._best_experiment, self.baseline)

    @property
    def gains(self) -> Sequence[GainVerdict]:
        """Of the best of a task that has ended, for its head."""
        return about(self._best_experiment, self.verdicts) if self.task.finished_at else []

    @cached_property
    def front(self) -> list[FrontMember]:
        return read_front(self.task, self.spec)

    @cached_property
    def table(self) -> ExperimentTable:
        return ExperimentTable(
            self.task, self.spec, self._counts, self._best_experiment, self._query
        )

    @property
    def parameters(self) -> list[AskedParameter]:
        return [
            AskedParameter(
                name, not isinstance(parameter, Fixed), described(parameter), parameter.cardinality
            )
            for name, parameter in self.spec.parameters.items()
        ]

    @property
    def slos(self) -> list[AskedSlo]:
        return [
            AskedSlo(slo.metric, str(slo).removeprefix(f"{slo.metric} "), _note(slo))
            for slo in self.spec.slos
        ]

    @cached_property
    def _counts(self) -> dict[str, int]:
        found = self.task.experiments.order_by("status").values_list("status")
        return dict(found.annotate(Count("pk")))

    @property
    def _finished(self) -> int:
        return sum(
            count for status, count in self._counts.items() if ExperimentStatus(status).is_terminal
        )

    @cached_property
    def _landmarks(self) -> list[Experiment]:
        """The baseline and what runs now."""
        wanted = Q(number=BASELINE_NUMBER) | Q(status__in=RUNNING_EXPERIMENT_STATUSES)
        return list(self.task.experiments.defer(*NOT_SHOWN).filter(wanted))

    @cached_property
    def _best_experiment(self) -> Experiment | None:
        return best_so_far(self.task, self.spec.objective)

    def _eta_s(self, total: int, running: Sequence[Experiment]) -> float | None:
        left = total - self._finished
        if self.task.state.is_terminal or not left:
            return None
        spans = (
            self.task.experiments.filter(started_at__isnull=False, finished_at__isnull=False)
            .order_by("-finished_at")
            .values_list("started_at", "finished_at", "status")[:RECENT_EXPERIMENTS]
        )
        lasted = [
            (status, (end - start).total_seconds()) for start, end, status in spans if start and end
        ]
        if not lasted:
            return None
        whole = [seconds for status, seconds in lasted if status == ExperimentStatus.SUCCESS.value]
        return seconds_to_go(
            left,
            fmean(seconds for _, seconds in lasted),
            starts_of(running),
            Capacity().runs_at_once(self.spec, self.task.driver),
            Verifying(2 * self.spec.optimization.verification, fmean(whole) if whole else None),
        )


def described(parameter: Parameter) -> str:
    """The values that a parameter may take, in words."""
    match parameter:
        case Fixed(value):
            return flag_value(value)
        case Choices(options):
            return ", ".join(flag_value(option) for option in options)
        case IntRange(low, high, None, True):
            return f"{low} to {high}, doubling"
        case IntRange(low, high, step, log) | FloatRange(low, high, step, log):
            steps = f" in steps of {step}" if step else ""
            return f"{low} to {high}{steps}{', small values more often' if log else ''}"


def _note(slo: Slo) -> str:
    if not slo.hard:
        return "soft: breaking it costs a penalty"
    if slo.fail_ratio > 0:
        return f"broken by less than {slo.fail_ratio:.0%}, it costs a penalty"
    return ""


def _compared(objective: Objective, best: Experiment, baseline: Experiment | None) -> str:
    """The gain as a ratio; empty where there is nothing to compare."""
    if baseline is None or baseline.pk == best.pk:
        return ""
    if best.objective_value is None or baseline.objective_value is None:
        return ""
    return comparison(objective, best.objective_value, baseline.objective_value)
