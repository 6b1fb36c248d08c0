"""One experiment from claim to outcome: deploy, wait, measure, judge, clean up.

Whatever happens, the engine is removed before the outcome is recorded: a recorded outcome means
that nothing of the experiment runs any more.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.utils import timezone

from controllers.base import Deployment, DeploymentError, DeploymentIdentity, EngineState
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import ExperimentEvent, ExperimentStatus, after_failure
from tuning.domain.measuring.course import End, EndKind
from tuning.domain.names import LogSource
from tuning.models.experiment import BASELINE_NUMBER
from tuning.orchestrator.gpus import await_empty, claim_with_gpus, no_such_cards
from tuning.orchestrator.judging import judge_experiment
from tuning.orchestrator.lease import Heartbeat, HeldLease, LeaseLost
from tuning.orchestrator.measuring import Measuring, Voice
from tuning.orchestrator.plan import deployment_request
from tuning.orchestrator.ports import Ports
from tuning.orchestrator.waiting import (
    ExperimentCancelled,
    ExperimentFailed,
    ExperimentInterrupted,
    Patience,
)

logger = logging.getLogger(__name__)

STARTING_TICKS_S = (0.02, 0.25)
"""Between two looks at a starting engine: quick for one that is up in a second, easy on one that
loads weights for minutes."""


@dataclass(frozen=True)
class Outcome:
    """How an experiment ends: the event that moves it and the fields that go with it."""

    event: ExperimentEvent
    fields: dict[str, Any] = field(default_factory=dict)
    counts: bool = True
    """Whether it uses up one of the experiment's attempts."""


def run_experiment(experiment_id: int, ports: Ports) -> ExperimentStatus | None:
    """Run a pending experiment to its end.

    Returns:
        The status it ended with (PENDING when it is to be tried again), or None when it was not
        to be had: claimed by another, cancelled, or waiting for GPUs.
    """
    lease = claim_with_gpus(experiment_id, ports)
    if lease is None:
        return None
    with Heartbeat(lease) as heartbeat:
        try:
            ExperimentRun(lease, heartbeat, ports).run()
        except LeaseLost:
            ports.log(
                LogSource.ORCHESTRATOR,
                f"Experiment {lease.experiment.number}: the lease was lost; its engine was "
                "stopped and nothing more is recorded here.",
            )
            return None
    return lease.experiment.state


class ExperimentRun:
    """One attempt at one experiment, by the holder of its lease."""

    def __init__(self, lease: HeldLease, heartbeat: Heartbeat, ports: Ports) -> None:
        self._lease = lease
        self._ports = ports
        self._experiment = lease.experiment
        self._spec = lease.experiment.task.parsed_spec()
        self._patience = Patience(self._experiment, heartbeat, ports.interrupted)
        self._deployment: Deployment | None = None
        self._is_pending = False
        self._waits_for = ""
        self._measuring: Measuring | None = None

    def run(self) -> None:
        """Raises LeaseLost, after the engine was stopped, when the outcome can't be recorded."""
        # What tears this process out of the attempt (SystemExit from a signal) leaves it at this.
        outcome = _lost_worker(self._experiment.attempt)
        try:
            outcome = self._attempt()
        finally:
            cleanup_s = self._clean_up()
            self._record(outcome, cleanup_s)

    def _attempt(self) -> Outcome:
        try:
            self._fail_without_cards()
            self._deploy()
            self._await_ready()
            return self._judge(self._measure())
        except ExperimentCancelled:
            return Outcome(ExperimentEvent.CANCELLED)
        except ExperimentInterrupted:
            self._say("interrupted: this worker is asked to stop")
            return Outcome(ExperimentEvent.ABANDONED, counts=False)
        except ExperimentFailed as failed:
            return self._failed(failed.failure)
        except LeaseLost:
            raise
        except Exception as error:
            logger.exception("%s broke", self._experiment)
            return self._failed(
                Failure(FailureKind.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
            )

    # --- Phases ---

    def _fail_without_cards(self) -> None:
        if len(self._lease.gpus) < self._experiment.gpus_needed:
            cards = self._ports.accelerators.cards()
            raise ExperimentFailed(no_such_cards(self._experiment, cards))

    def _deploy(self) -> None:
        self._progress("deploying")
        if self._is_first_of_its_task and self._experiment.task.started_from:
            self._ports.log(LogSource.ORCHESTRATOR, self._experiment.task.started_from)
        identity = DeploymentIdentity(
            instance=self._ports.instance,
            task_id=self._experiment.task_id,
            experiment_id=self._experiment.pk,
            attempt=self._experiment.attempt,
        )
        gpus = self._lease.gpus
        request = deployment_request(self._spec, identity, self._experiment.parameters, gpus)
        where = f" on GPU {', '.join(map(str, gpus))}" if gpus else ""
        self._say(f"deploying with {self._experiment.parameters or 'the default flags'}{where}")
        try:
            self._deployment = self._ports.controller.deploy(
                request, self._ports.log, self._patience.stop_if_asked
            )
        except DeploymentError as error:
            raise ExperimentFailed(error.failure) from error
        self._lease.record(command=list(self._deployment.command), **_facts_of(self._deployment))

    def _await_ready(self) -> None:
        started = time.monotonic()
        timeout_s = self._spec.optimization.timeout_per_iteration

        def overdue() -> Failure:
            waited_for = f" It waited: {self._waits_for}." if self._waits_for else ""
            message = f"The engine was not healthy after {timeout_s:g} s.{waited_for}"
            return Failure(FailureKind.STARTUP_TIMEOUT, message)

        self._patience.wait_until(
            self._engine_is_ready, timeout_s, overdue, STARTING_TICKS_S, lambda: self._is_pending
        )
        deploy_s = time.monotonic() - started
        self._lease.move(ExperimentEvent.ENGINE_READY, deploy_s=deploy_s)
        self._say(f"engine healthy after {deploy_s:.1f} s")

    def _measure(self) -> End:
        assert self._deployment is not None
        voice = Voice(self._say, self._progress)
        self._measuring = Measuring(
            self._lease, self._spec, self._ports, self._patience, voice, self._fail_if_gone
        )
        return self._measuring.measure(self._deployment, self._results_dir())

    def _judge(self, end: End) -> Outcome:
        points = [measurement.as_point() for measurement in self._experiment.measurements.all()]
        judgement = judge_experiment(self._spec, points, end)
        if judgement.failure is not None:
            return self._failed(judgement.failure, **judgement.fields)
        is_pruned = end.kind is EndKind.PRUNED
        event = ExperimentEvent.PRUNED if is_pruned else ExperimentEvent.MEASURED
        return Outcome(event, dict(judgement.fields))

    # --- Looking ---

    @property
    def _is_first_of_its_task(self) -> bool:
        first = BASELINE_NUMBER if self._spec.optimization.baseline else BASELINE_NUMBER + 1
        return (self._experiment.number, self._experiment.attempt) == (first, 1)

    def _engine_is_ready(self) -> bool:
        assert self._deployment is not None
        status = self._ports.controller.status(self._deployment)
        if status.state is EngineState.EXITED:
            assert status.failure is not None
            raise ExperimentFailed(status.failure)
        was_pending, self._is_pending = self._is_pending, status.state is EngineState.PENDING
        if self._is_pending and not was_pending:
            self._say(f"waits for room: {status.detail}")
        self._waits_for = status.detail.rstrip(".")
        if status.deployment is not None:
            self._deployment = status.deployment
            self._lease.record(**_facts_of(status.deployment))
        if status.state is not EngineState.READY:
            self._progress(": ".join(filter(None, [status.state.value, status.detail])))
        return status.state is EngineState.READY

    def _fail_if_gone(self) -> None:
        assert self._deployment is not None
        gone = self._ports.controller.exit_failure(self._deployment)
        if gone is not None:
            raise ExperimentFailed(gone)

    # --- Recording ---

    def _failed(self, failure: Failure, **fields: Any) -> Outcome:
        """What a failure leads to: the engine's last lines are read while it is still there."""
        self._say(f"failed ({failure.kind}): {failure.message}")
        event = after_failure(failure.kind, self._experiment.attempt)
        if event is ExperimentEvent.ABANDONED:
            return Outcome(event)
        log_tail: list[str] = []
        if self._deployment is not None:
            log_tail = self._ports.controller.recent_log(self._deployment)
        return Outcome(
            event,
            {
                "failure_kind": failure.kind.value,
                "failure_message": failure.message,
                "log_tail": log_tail,
                **fields,
            },
        )

    def _clean_up(self) -> float:
        """Stop the benchmark, remove the engine and see its cards empty; seconds it took."""
        self._progress("cleaning up")
        started = time.monotonic()
        try:
            if self._measuring is not None:
                self._measuring.stop()
        finally:
            if self._deployment is not None:
                self._remove(self._deployment)
        return time.monotonic() - started

    def _remove(self, deployment: Deployment) -> None:
        try:
            self._ports.controller.delete(deployment)
        except Exception as error:
            # The outcome still counts; whatever is left has no lease and the sweep removes it.
            logger.exception("removing %s failed", deployment.identity.name)
            self._say(f"removing {deployment.identity.name} failed: {error}")
        else:
            self._deployment = None
            await_empty(self._lease.gpus, self._ports.accelerators)

    def _record(self, outcome: Outcome, cleanup_s: float) -> None:
        fields = {"cleanup_s": cleanup_s, **outcome.fields}
        if outcome.event is not ExperimentEvent.ABANDONED:
            fields["finished_at"] = timezone.now()
        if not outcome.counts and self._deployment is None:
            # The number of the attempt is part of the engine's name: it is not given to another
            # one while this engine may still be up.
            fields["attempt"] = self._experiment.attempt - 1
        self._lease.end(outcome.event, engine_is_gone=self._deployment is None, **fields)
        self._say(self._closing_line())

    def _results_dir(self) -> Path:
        return (
            self._ports.results_dir
            / f"task_{self._experiment.task_id}"
            / f"experiment_{self._experiment.number}"
        )

    def _progress(self, phase: str) -> None:
        self._ports.on_progress(self._experiment.pk, phase)

    def _say(self, text: str) -> None:
        self._ports.log(LogSource.ORCHESTRATOR, f"Experiment {self._experiment.number}: {text}")

    def _closing_line(self) -> str:
        experiment = self._experiment
        if experiment.state is ExperimentStatus.SUCCESS:
            values = (
                f"{name} = {value:.4g}" for name, value in experiment.objective_values.items()
            )
            return ", ".join(values)
        if experiment.state is ExperimentStatus.PENDING:
            return "goes back into the queue for another attempt"
        return f"ended as {experiment.status}"


def _facts_of(deployment: Deployment) -> dict[str, Any]:
    """What an experiment remembers of its engine's surroundings."""
    facts: dict[str, Any] = {"environment": dict(deployment.environment)}
    return facts if deployment.gpus is None else {**facts, "gpus_needed": deployment.gpus}


def _lost_worker(attempt: int) -> Outcome:
    """As the sweep would judge it: another attempt, unless there were too many."""
    event = after_failure(FailureKind.LOST_WORKER, attempt)
    if event is ExperimentEvent.ABANDONED:
        return Outcome(event)
    message = f"Its worker was stopped in the middle of {attempt} attempts."
    kind = FailureKind.LOST_WORKER.value
    return Outcome(event, {"failure_kind": kind, "failure_message": message})
