"""What comes next for a task, decided from the database alone.

Short and idempotent: called once too often it changes nothing, and no process has to stay alive
between two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import (
    ExperimentEvent,
    ExperimentPurpose,
    ExperimentStatus,
    TaskEvent,
    TaskStatus,
    next_status,
    target_of,
)
from tuning.domain.names import FlagValue
from tuning.domain.space import SpaceError, configuration_hash
from tuning.domain.spec import TaskSpec
from tuning.domain.verdict import Finding, GainVerdict
from tuning.models import Experiment, Task
from tuning.models.experiment import BASELINE_NUMBER, FULL_FIDELITY
from tuning.orchestrator.choosing import best_experiment
from tuning.orchestrator.gpus import live_hosts
from tuning.orchestrator.launching_again import (
    Relaunch,
    next_relaunches,
    unverified,
    verdicts_of,
)
from tuning.orchestrator.lease import host_of
from tuning.orchestrator.trials import proposals
from tuning.orchestrator.warm_starting import decide, learnt_from
from tuning.turns import take_turn

HOPELESS_KINDS = frozenset(
    {
        FailureKind.MODEL_MISSING,
        FailureKind.ENGINE_MISSING,
        FailureKind.IMAGE_MISSING,
        FailureKind.ACCELERATOR_MISSING,
        FailureKind.FORBIDDEN,
        FailureKind.CLUSTER_UNAVAILABLE,
    }
)
"""Failures that every configuration of the task would share."""


@dataclass(frozen=True)
class Step:
    """What to do now: run the experiments in `ready`, or nothing more once `finished`.

    Those in `waiting` were tried before and wait for GPUs.
    """

    ready: tuple[int, ...]
    finished: bool
    waiting: tuple[int, ...] = ()


def _one_at_a_time(spec: TaskSpec) -> int:
    return 1


def advance(
    task_id: int,
    max_running: int | None = None,
    room_for: Callable[[TaskSpec], int] = _one_at_a_time,
) -> Step:
    """Take a task one step on: queue the next experiments, or finish it.

    A task that has not started yet waits while `max_running` tasks of the workers are running.
    `room_for` tells how many experiments of a task that sets no `max_parallel` run side by side.

    Raises:
        Task.DoesNotExist: there is no such task.
    """
    with transaction.atomic():
        # Lines of its log may be stored meanwhile: the search may think for a while.
        task = Task.objects.select_for_update(no_key=True).get(pk=task_id)
        if task.state.is_terminal:
            return Step(ready=(), finished=True)
        if task.cancel_requested_at is None and _is_over_time(task):
            task.cancel_requested_at = timezone.now()
            task.cancel_reason = f"Stopped at its time limit of {task.time_limit_s} s."
            task.save(update_fields=["cancel_requested_at", "cancel_reason"])
        if task.state is TaskStatus.PENDING and task.cancel_requested_at is None:
            if max_running is not None and _running_tasks() >= max_running:
                return Step(ready=(), finished=False)
            _move(task, TaskEvent.STARTED, started_at=timezone.now())
        return _TaskStep(task, room_for).take()


def _is_over_time(task: Task) -> bool:
    return task.time_limit_s is not None and _ran_for_s(task) > task.time_limit_s


def _ran_for_s(task: Task) -> float:
    """Seconds since its start (or resume) in which an experiment of the task ran.

    Nights in which no worker was up don't count, and neither do two experiments at once twice.
    """
    if task.started_at is None:
        return 0.0
    now = timezone.now()
    # One that went back into the queue has a start and no end, and does not run.
    spans = task.experiments.filter(started_at__gte=task.started_at).order_by("started_at")
    spans = spans.exclude(status=ExperimentStatus.PENDING.value)
    total_s, counted_until = 0.0, task.started_at
    for started, finished in spans.values_list("started_at", "finished_at"):
        end = finished or now
        if started and end > counted_until:
            total_s += (end - max(started, counted_until)).total_seconds()
            counted_until = end
    return total_s


def _running_tasks() -> int:
    """Tasks of the workers under way. Two starts at once count one after another."""
    take_turn("start", "of a task")
    return Task.objects.for_workers().filter(status=TaskStatus.RUNNING.value).count()


def _move(task: Task, event: TaskEvent, **fields: Any) -> None:
    """Move a task that this transaction holds."""
    task.status = next_status(task.state, event).value
    for name, value in fields.items():
        setattr(task, name, value)
    task.save(update_fields=["status", *fields])


class _TaskStep:
    def __init__(self, task: Task, room_for: Callable[[TaskSpec], int]) -> None:
        self._task = task
        self._room_for = room_for
        self._spec = task.parsed_spec()
        self._experiments = list(task.experiments.all())

    def take(self) -> Step:
        if self._task.cancel_requested_at is not None:
            return self._cancel()
        hopeless = self._hopeless_failure()
        if hopeless is not None:
            self._drop_pending()
            return self._finish(hopeless)
        why_no_more = self._queue_more() if self._task.state is TaskStatus.RUNNING else None
        if self._task.state is TaskStatus.PAUSED:
            return Step(ready=(), finished=False)
        if not self._is_busy():
            self._launch_again(why_no_more)
        pending = self._with_status(ExperimentStatus.PENDING)
        if pending or self._running():
            self._remember_the_best()
            self._let_go_of_dead_hosts(pending)
            return Step(
                ready=tuple(one.pk for one in pending if one.waiting_since is None),
                finished=False,
                waiting=tuple(one.pk for one in pending if one.waiting_since is not None),
            )
        return self._finish(why_no_more)

    # --- Endings ---

    def _cancel(self) -> Step:
        self._drop_pending()
        if self._running():
            return Step(ready=(), finished=False)
        reason = "the task was cancelled before its end"
        _move(
            self._task,
            TaskEvent.CANCELLED,
            finished_at=timezone.now(),
            best_experiment=best_experiment(self._spec, self._experiments),
            verdicts=_stored(unverified(self._spec, self._experiments, reason)),
            status_reason=self._task.cancel_reason,
        )
        return Step(ready=(), finished=True)

    def _finish(self, reason: str | None = None) -> Step:
        best = best_experiment(self._spec, self._experiments)
        reason = reason or self._task.status_reason
        if best is not None:
            verdicts = verdicts_of(self._spec, self._experiments)
            better = self._better_reference(verdicts)
            if better is not None:
                reason = f"{_beaten(best, better)} {reason}".rstrip()
            _move(
                self._task,
                TaskEvent.FINISHED,
                finished_at=timezone.now(),
                best_experiment=better or best,
                verdicts=_stored(verdicts),
                status_reason=reason,
            )
        else:
            _move(
                self._task,
                TaskEvent.FAILED,
                finished_at=timezone.now(),
                best_experiment=None,
                status_reason=reason or self._why_nothing_won(),
            )
        return Step(ready=(), finished=True)

    def _better_reference(self, verdicts: Sequence[GainVerdict]) -> Experiment | None:
        """What the winner was compared with, if that has turned out to be the better one."""
        if len(verdicts) != 1 or verdicts[0].finding is not Finding.WORSE:
            return None
        return next(
            (
                one
                for one in self._with_status(ExperimentStatus.SUCCESS)
                if one.number == verdicts[0].against_number
            ),
            None,
        )

    def _why_nothing_won(self) -> str:
        if not self._experiments:
            return "There is no configuration to try."
        violated = [one for one in self._experiments if one.failure_kind == "slo_violated"]
        if violated:
            return (
                f"No configuration met the SLOs: {len(violated)} of {len(self._experiments)} "
                "were measured and broke a hard limit."
            )
        return f"All {len(self._experiments)} experiments failed."

    def _hopeless_failure(self) -> str | None:
        if self._with_status(ExperimentStatus.SUCCESS) or self._running():
            return None
        for experiment in self._experiments:
            failure = experiment.failure
            if failure is not None and failure.kind in HOPELESS_KINDS:
                return f"Every configuration would fail alike: {failure.message}"
        return None

    # --- Queueing ---

    def _queue_more(self) -> str | None:
        """Insert what may run next. Returns why the search can't go on, if it can't."""
        if not all(one.is_first_launch for one in self._experiments):
            return None
        decide(self._task, self._spec)
        free = (
            self._parallel - len(self._running()) - len(self._with_status(ExperimentStatus.PENDING))
        )
        if free > 0 and self._wants_baseline():
            self._insert(BASELINE_NUMBER, self._spec.space().baseline())
            free -= 1
        limit = self._spec.optimization.max_iterations
        wanted = free if limit is None else min(free, limit - self._tried())
        if wanted <= 0:
            return None
        try:
            earlier = learnt_from(self._task, self._spec)
            found = proposals(self._spec, self._experiments, wanted, earlier)
        except SpaceError as error:
            return str(error)
        for proposal in found:
            self._insert(self._next_number(), proposal.parameters)
        return None

    def _launch_again(self, why_no_more: str | None) -> None:
        """Insert what is launched again once the search is over."""
        relaunches = next_relaunches(self._spec, self._experiments, self._parallel)
        if relaunches and why_no_more:
            # The strategy is not asked again.
            self._task.status_reason = why_no_more
            self._task.save(update_fields=["status_reason"])
        for relaunch in relaunches:
            self._insert_again(relaunch)

    def _remember_the_best(self) -> None:
        """Where no ORDER BY on the scores can tell which it is."""
        is_plain = len(self._spec.objectives) == 1 and all(
            one.is_first_launch for one in self._experiments
        )
        if is_plain:
            return
        best = best_experiment(self._spec, self._experiments)
        if best is not None and self._task.best_experiment_id != best.pk:
            self._task.best_experiment = best
            self._task.save(update_fields=["best_experiment"])

    def _let_go_of_dead_hosts(self, pending: Sequence[Experiment]) -> None:
        """Other hardware is better than to wait for a host that may never come back."""
        bound = [one for one in pending if one.only_on]
        if not bound:
            return
        hosts = {host_of(self._task.driver)} if self._task.driver else live_hosts()
        lost = [one.pk for one in bound if one.only_on not in hosts]
        self._task.experiments.filter(pk__in=lost).update(only_on="")

    @property
    def _parallel(self) -> int:
        return self._spec.optimization.max_parallel or self._room_for(self._spec)

    def _wants_baseline(self) -> bool:
        return self._spec.optimization.baseline and not any(
            experiment.is_baseline for experiment in self._experiments
        )

    def _tried(self) -> int:
        return sum(not experiment.is_baseline for experiment in self._experiments)

    def _next_number(self) -> int:
        return 1 + max((one.number for one in self._experiments), default=BASELINE_NUMBER)

    def _insert(self, number: int, parameters: Mapping[str, FlagValue]) -> None:
        purpose = (
            ExperimentPurpose.BASELINE if number == BASELINE_NUMBER else ExperimentPurpose.SEARCH
        )
        self._experiments.append(
            Experiment.objects.create(
                task=self._task,
                number=number,
                purpose=purpose.value,
                parameters=dict(parameters),
                configuration_hash=configuration_hash(parameters),
                fidelity=FULL_FIDELITY,
            )
        )

    def _insert_again(self, relaunch: Relaunch) -> None:
        original = relaunch.original
        self._experiments.append(
            Experiment.objects.create(
                task=self._task,
                number=self._next_number(),
                purpose=relaunch.purpose.value,
                original=original,
                round=relaunch.round,
                only_on=relaunch.only_on,
                parameters=original.parameters,
                configuration_hash=original.configuration_hash,
                fidelity=original.fidelity,
            )
        )

    def _drop_pending(self) -> None:
        self._task.experiments.filter(status=ExperimentStatus.PENDING.value).update(
            status=target_of(ExperimentEvent.CANCELLED), finished_at=timezone.now()
        )
        self._experiments = list(self._task.experiments.all())

    # --- Looking ---

    def _with_status(self, *statuses: ExperimentStatus) -> list[Experiment]:
        return [experiment for experiment in self._experiments if experiment.state in statuses]

    def _running(self) -> list[Experiment]:
        return [experiment for experiment in self._experiments if experiment.state.is_running]

    def _is_busy(self) -> bool:
        return bool(self._running() or self._with_status(ExperimentStatus.PENDING))


def _beaten(winner: Experiment, better: Experiment) -> str:
    name = "the baseline" if better.is_baseline else f"experiment {better.number}"
    return (
        f"Experiment {winner.number} looked best in the search, but is worse than {name} when both "
        "are measured again."
    )


def _stored(verdicts: Sequence[GainVerdict]) -> list[dict[str, Any]]:
    return [verdict.as_document() for verdict in verdicts]
