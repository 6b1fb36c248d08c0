"""How far a task has come, read from the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.objectives import Objective, gain
from tuning.domain.spec import TaskSpec
from tuning.estimates import Capacity
from tuning.models import Experiment, Task
from tuning.models.experiment import BASELINE_NUMBER
from tuning.orchestrator.advance import best_experiment

NOT_SHOWN = ("log_tail", "environment", "command")
"""Large fields of an experiment that say nothing of how far it is. Reading one is a query."""


@dataclass(frozen=True)
class TaskProgress:
    """`total` counts the baseline too. Durations are means of finished experiments, in seconds.

    `running` is the first of those under way, which began at `running_since`; `at_once` may be.
    """

    spec: TaskSpec
    experiments: Sequence[Experiment]
    total: int
    finished: int
    running: Experiment | None
    running_since: Sequence[datetime]
    at_once: int
    mean_experiment_s: float | None
    best: Experiment | None
    gain_over_baseline: float | None

    @property
    def eta_s(self) -> float | None:
        """Seconds still to go, or None before the first experiment has finished."""
        left = self.total - self.finished
        return seconds_to_go(left, self.mean_experiment_s, self.running_since, self.at_once)


def seconds_to_go(
    experiments_left: int,
    mean_experiment_s: float | None,
    running_since: Sequence[datetime],
    at_once: int = 1,
) -> float | None:
    """Seconds until the last experiment ends, `at_once` of them side by side, all equally long.

    `experiments_left` counts those that have been running since `running_since`.
    """
    if mean_experiment_s is None:
        return None
    now = timezone.now()
    spent = [min((now - since).total_seconds(), mean_experiment_s) for since in running_since]
    places = [mean_experiment_s - one_s for one_s in sorted(spent, reverse=True)]
    places = [0.0] * (at_once - len(places)) + places
    rounds, rest = divmod(max(0, experiments_left - len(spent)), len(places))
    # The places that are free first take what remains after whole rounds.
    last_s = places[rest - 1] + mean_experiment_s if rest else 0.0
    longest_s = max(places[-1], last_s)
    return max(longest_s + rounds * mean_experiment_s, 0.0)


def read_progress(task: Task, spec: TaskSpec) -> TaskProgress:
    """One query for the experiments, and one for the workers' hosts while the task runs."""
    # A search may end before its plan does: then what was tried is all there is.
    planned = 0 if task.state.is_terminal else task.planned_experiments or 0
    experiments = list(task.experiments.defer(*NOT_SHOWN))
    finished = [experiment for experiment in experiments if experiment.state.is_terminal]
    running = [one for one in experiments if one.state.is_running]
    durations = [one.duration_s for one in finished if one.duration_s is not None]
    best = best_experiment(spec, experiments)
    return TaskProgress(
        spec=spec,
        experiments=experiments,
        total=max(planned, len(experiments)),
        finished=len(finished),
        running=running[0] if running else None,
        running_since=starts_of(running),
        at_once=1 if task.state.is_terminal else Capacity().runs_at_once(spec, task.driver),
        mean_experiment_s=sum(durations) / len(durations) if durations else None,
        best=best,
        gain_over_baseline=gain_over_baseline(spec, best, experiments),
    )


def starts_of(running: Iterable[Experiment]) -> list[datetime]:
    return [one.started_at for one in running if one.started_at is not None]


def best_so_far(task: Task, objective: Objective) -> Experiment | None:
    """As `best_experiment`, but found by the database. One query."""
    order = "score" if objective.direction is Direction.MINIMIZE else "-score"
    successes = task.experiments.filter(status=ExperimentStatus.SUCCESS.value)
    return successes.defer(*NOT_SHOWN).order_by(order, "number").first()


def seconds_in_phase(experiment: Experiment, now: datetime) -> float | None:
    """How long a running experiment has been deploying, or has been benchmarking."""
    if experiment.started_at is None or not experiment.state.is_running:
        return None
    running_s = (now - experiment.started_at).total_seconds()
    if experiment.state is ExperimentStatus.BENCHMARKING:
        running_s -= experiment.deploy_s or 0.0
    return max(running_s, 0.0)


def gain_over_baseline(
    spec: TaskSpec, best: Experiment | None, experiments: list[Experiment]
) -> float | None:
    """How much better the best value is than the baseline's, 0.25 for 25 %; None without both.

    A baseline that was measured but broke an SLO still counts: it is what the user has now.
    """
    baseline = next((one for one in experiments if one.number == BASELINE_NUMBER), None)
    if best is None or baseline is None:
        return None
    if best.objective_value is None or baseline.objective_value is None:
        return None
    return gain(best.objective_value, baseline.objective_value, spec.objective)
