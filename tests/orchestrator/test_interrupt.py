"""What becomes of a running experiment when its process is asked to stop, or is torn out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from controllers.base import (
    Benchmark,
    Controller,
    Deployment,
    DeploymentRequest,
    EngineState,
    EngineStatus,
    LogSink,
    Tick,
)
from tuning.models import Experiment, Lease, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import request_cancel
from tuning.orchestrator.drive import drive
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports
from tuning.orchestrator.run_experiment import run_experiment

# Heartbeats write from threads of their own, which see nothing of an open transaction.
pytestmark = pytest.mark.django_db(transaction=True)

MakeTask = Callable[..., Task]


class StartingEngine:
    """An engine that is never ready; `on_look` is called each time it is asked."""

    def __init__(self, on_look: Callable[[], object], *, can_be_removed: bool = True) -> None:
        self._on_look = on_look
        self._can_be_removed = can_be_removed
        self.is_up = False

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick) -> Deployment:
        self.is_up = True
        return Deployment(request.identity, "http://127.0.0.1:9", ("engine",))

    def status(self, deployment: Deployment) -> EngineStatus:
        self._on_look()
        return EngineStatus(EngineState.STARTING)

    def delete(self, deployment: Deployment) -> None:
        if not self._can_be_removed:
            raise OSError("the engine does not listen")
        self.is_up = False


def ports(engine: StartingEngine, interrupted: Callable[[], bool], results: Path) -> Ports:
    return Ports(
        instance="test",
        owner=this_process(),
        controller=cast(Controller, engine),
        benchmark=cast(Benchmark, None),
        log=lambda source, text: None,
        results_dir=results,
        tokenizer_for=lambda spec: "unused",
        interrupted=interrupted,
    )


def run_once(task: Task, engine: StartingEngine, interrupted: bool, results: Path) -> Experiment:
    """The task's next experiment after one attempt; no lease is left."""
    (experiment_id,) = advance(task.pk).ready
    run_experiment(experiment_id, ports(engine, lambda: interrupted, results))
    assert not Lease.objects.exists()
    return Experiment.objects.get(pk=experiment_id)


def test_a_stopping_worker_gives_the_experiment_back_and_counts_no_attempt(
    make_task: MakeTask, tmp_path: Path
) -> None:
    task = make_task()
    engine = StartingEngine(on_look=lambda: None)
    for _ in range(5):
        experiment = run_once(task, engine, True, tmp_path)
        assert (experiment.status, experiment.attempt) == ("PENDING", 0)
        assert not engine.is_up
    task.refresh_from_db()
    assert task.status == "RUNNING"
    assert task.cancel_requested_at is None


def test_a_cancelled_task_is_cancelled_also_when_the_worker_stops(
    make_task: MakeTask, tmp_path: Path
) -> None:
    task = make_task()
    engine = StartingEngine(on_look=lambda: request_cancel(task.pk))
    assert run_once(task, engine, True, tmp_path).status == "CANCELLED"


def test_the_number_of_an_attempt_whose_engine_may_be_up_is_not_used_again(
    make_task: MakeTask, tmp_path: Path
) -> None:
    engine = StartingEngine(on_look=lambda: None, can_be_removed=False)
    experiment = run_once(make_task(), engine, True, tmp_path)
    assert (experiment.status, experiment.attempt) == ("PENDING", 1)


def test_a_process_torn_out_of_an_attempt_counts_as_a_lost_worker(
    make_task: MakeTask, tmp_path: Path
) -> None:
    def tear_out() -> Any:
        raise SystemExit(1)

    task = make_task()
    engine = StartingEngine(on_look=tear_out)
    seen = []
    for _ in range(3):
        (experiment_id,) = advance(task.pk).ready
        with pytest.raises(SystemExit):
            run_experiment(experiment_id, ports(engine, lambda: False, tmp_path))
        assert not engine.is_up
        seen.append(Experiment.objects.values_list("status", "attempt").get(pk=experiment_id))
    assert seen == [("PENDING", 1), ("PENDING", 2), ("FAILED", 3)]
    assert Experiment.objects.get(status="FAILED").failure_kind == "lost_worker"
    assert not Lease.objects.exists()


def test_an_interrupt_of_the_process_that_drives_a_task_cancels_it(
    make_task: MakeTask, tmp_path: Path
) -> None:
    task = make_task()
    looks: list[int] = []
    engine = StartingEngine(on_look=lambda: looks.append(1))
    drive(task.pk, ports(engine, lambda: len(looks) > 2, tmp_path))
    task.refresh_from_db()
    assert task.status == "CANCELLED"
    assert [one.status for one in task.experiments.all()] == ["CANCELLED"]
    assert not engine.is_up
