"""How far a task has come, read from the database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

from django.utils import timezone

from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.metrics import Direction
from tuning.domain.objectives import Objective
from tuning.domain.spec import TaskSpec
from tuning.domain.verdict import GainVerdict
from tuning.estimates import Capacity
from tuning.models import Experiment, Task
from tuning.orchestrator.choosing import best_experiment
from tuning.verdicts import gain_over_baseline, verdicts_of

NOT_SHOWN = ("log_tail", "environment", "command")
"""Large fields of an experiment that say nothing of how far it is. Reading one is a query."""


@dataclass(frozen=True)
class TaskProgress:
    """`total` counts the baseline and verification, too. Durations are means of finished
    experiments, in seconds, `mean_whole_s` of those that were measured to their end.

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
    mean_whole_s: float | None
    best: Experiment | None
    gain_over_baseline: float | None
    verdicts: Sequence[GainVerdict]

    @property
    def eta_s(self) -> float | None:
        """Seconds still to go, or None before the first experiment has finished."""
        return seconds_to_go(
            self.total - self.finished,
            self.mean_experiment_s,
            self.running_since,
            self.at_once,
            Verifying(2 * self.spec.optimization.verification, self.mean_whole_s),
        )


@dataclass(frozen=True)
class Verifying:
    """The launches at a task's end: one after the other, and measured whole, also where the search
    stops early. `mean_s` is None where nothing was measured whole yet."""

    launches: int = 0
    mean_s: float | None = None


def seconds_to_go(
    experiments_left: int,
    mean_experiment_s: float | None,
    running_since: Sequence[datetime],
    at_once: int = 1,
    verifying: Verifying | None = None,
) -> float | None:
    """Seconds until the last experiment ends, `at_once` of them side by side, all equally long but
    for those of `verifying`.

    `experiments_left` counts those that have been running since `running_since`.
    """
    if mean_experiment_s is None:
        return None
    verifying = verifying or Verifying()
    in_turn = min(verifying.launches, experiments_left)
    whole_s = verifying.mean_s or mean_experiment_s
    searching = experiments_left - in_turn
    if searching:
        return _side_by_side_s(searching, mean_experiment_s, running_since, at_once) + (
            in_turn * whole_s
        )
    if not in_turn:
        return _side_by_side_s(0, mean_experiment_s, running_since, at_once)
    now = timezone.now()
    spent_s = sum(min((now - since).total_seconds(), whole_s) for since in running_since)
    return max(in_turn * whole_s - spent_s, 0.0)


def _side_by_side_s(
    experiments_left: int,
    mean_experiment_s: float,
    running_since: Sequence[datetime],
    at_once: int,
) -> float:
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
    whole = [
        one.duration_s
        for one in finished
        if one.state is ExperimentStatus.SUCCESS and one.duration_s is not None
    ]
    best = chosen_best(task, spec, experiments)
    baseline = next((one for one in experiments if one.is_baseline), None)
    return TaskProgress(
        spec=spec,
        experiments=experiments,
        total=max(planned, len(experiments)),
        finished=len(finished),
        running=running[0] if running else None,
        running_since=starts_of(running),
        at_once=1 if task.state.is_terminal else Capacity().runs_at_once(spec, task.driver),
        mean_experiment_s=fmean(durations) if durations else None,
        mean_whole_s=fmean(whole) if whole else None,
        best=best,
        gain_over_baseline=gain_over_baseline(task, spec.objective, best, baseline),
        verdicts=verdicts_of(task, spec.objectives, best, baseline),
    )


def chosen_best(
    task: Task, spec: TaskSpec, experiments: Collection[Experiment]
) -> Experiment | None:
    """The best as the orchestrator has chosen it; before it had to, the best score so far."""
    if task.best_experiment_id is None:
        return best_experiment(spec, experiments)
    return next((one for one in experiments if one.pk == task.best_experiment_id), None)


def starts_of(running: Iterable[Experiment]) -> list[datetime]:
    return [one.started_at for one in running if one.started_at is not None]


def best_so_far(task: Task, objective: Objective) -> Experiment | None:
    """As `chosen_best`, but found by the database. One query."""
    if task.best_experiment_id is not None:
        chosen = task.experiments.filter(pk=task.best_experiment_id)
        return chosen.defer(*NOT_SHOWN).first()
    order = "score" if objective.direction is Direction.MINIMIZE else "-score"
    successes = task.experiments.filter(
        status=ExperimentStatus.SUCCESS.value, original__isnull=True
    )
    return successes.defer(*NOT_SHOWN).order_by(order, "number").first()


def seconds_in_phase(experiment: Experiment, now: datetime) -> float | None:
    """How long a running experiment has been deploying, or has been benchmarking."""
    if experiment.started_at is None or not experiment.state.is_running:
        return None
    running_s = (now - experiment.started_at).total_seconds()
    if experiment.state is ExperimentStatus.BENCHMARKING:
        running_s -= experiment.deploy_s or 0.0
    return max(running_s, 0.0)
