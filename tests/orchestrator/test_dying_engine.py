"""An engine that answers errors and then dies has crashed; it did not merely miss an SLO."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

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
from tests.orchestrator.one_point import FakeBenchmark
from tuning.domain.failures import Failure, FailureKind
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports
from tuning.orchestrator.run_experiment import run_experiment

pytestmark = pytest.mark.django_db(transaction=True)

MakeTask = Callable[..., Task]

CRASH = Failure(FailureKind.CRASHED, "The engine exited with code 1.")


class FakeEngine:
    """Ready at once; `dies_after_s` counts from the end of the benchmark, None for never."""

    def __init__(self, dies_after_s: float | None) -> None:
        self._dies_after_s = dies_after_s
        self.benchmark_ended_at = float("inf")

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick) -> Deployment:
        return Deployment(request.identity, "http://127.0.0.1:9", ("engine",))

    def status(self, deployment: Deployment) -> EngineStatus:
        return EngineStatus(EngineState.READY)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        if self._dies_after_s is None:
            return None
        died = time.monotonic() - self.benchmark_ended_at > self._dies_after_s
        return CRASH if died else None

    def benchmark_ends(self) -> None:
        self.benchmark_ended_at = time.monotonic()

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        return ["RuntimeError"]

    def delete(self, deployment: Deployment) -> None:
        pass


def run(task: Task, engine: FakeEngine, failed_requests: int, results: Path) -> Experiment:
    (experiment_id,) = advance(task.pk).ready
    benchmark = FakeBenchmark(
        5.0, num_failed_requests=failed_requests, on_poll=engine.benchmark_ends
    )
    run_experiment(
        experiment_id,
        Ports(
            instance="test",
            owner=this_process(),
            controller=cast(Controller, engine),
            benchmark=cast(Benchmark, benchmark),
            log=lambda source, text: None,
            results_dir=results,
            tokenizer_for=lambda spec: "unused",
        ),
    )
    return Experiment.objects.get(pk=experiment_id)


def test_errors_and_then_death_is_a_crash(make_task: MakeTask, tmp_path: Path) -> None:
    experiment = run(make_task(), FakeEngine(dies_after_s=0.4), 3, tmp_path)
    assert (experiment.status, experiment.failure_kind) == ("FAILED", "crashed")
    assert experiment.log_tail == ["RuntimeError"]


def test_errors_of_an_engine_that_lives_break_the_slo(make_task: MakeTask, tmp_path: Path) -> None:
    experiment = run(make_task(), FakeEngine(dies_after_s=None), 3, tmp_path)
    assert experiment.failure_kind == "slo_violated"


def test_without_errors_nobody_waits_for_a_death(make_task: MakeTask, tmp_path: Path) -> None:
    experiment = run(make_task(), FakeEngine(dies_after_s=0.4), 0, tmp_path)
    assert experiment.status == "SUCCESS"
