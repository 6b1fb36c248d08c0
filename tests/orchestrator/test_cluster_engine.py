"""An engine in a cluster: waits for room, is known better once it is ready, brings its own GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from tuning.domain.failures import Failure
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports
from tuning.orchestrator.run_experiment import run_experiment

pytestmark = pytest.mark.django_db(transaction=True)

MakeTask = Callable[..., Task]

NO_ROOM = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu"
FORWARD, SERVICE = "http://127.0.0.1:8001", "http://engine.autotuner.svc"


class FakeClusterEngine:
    """Pending at the first look, ready at the second; it takes the GPUs that its runtime says."""

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self._looks = 0
        self.deleted: list[Deployment] = []

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick) -> Deployment:
        facts = {"kubernetes_version": "v1.30.2"}
        return Deployment(request.identity, FORWARD, ("engine",), facts, "autotuner", self._gpus)

    def status(self, deployment: Deployment) -> EngineStatus:
        self._looks += 1
        if self._looks == 1:
            return EngineStatus(EngineState.PENDING, detail=NO_ROOM)
        facts = {**deployment.environment, "node": "gpu-a"}
        known = replace(deployment, base_url=SERVICE, environment=facts)
        return EngineStatus(EngineState.READY, deployment=known)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        return None

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        return []

    def delete(self, deployment: Deployment) -> None:
        self.deleted.append(deployment)


def run(task: Task, engine: FakeClusterEngine, results: Path) -> tuple[FakeBenchmark, list[str]]:
    benchmark, phases = FakeBenchmark(tokens_per_s=500.0), []
    (experiment_id,) = advance(task.pk).ready
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
            on_progress=lambda experiment, phase: phases.append(phase),
        ),
    )
    return benchmark, phases


def test_waiting_for_room_is_shown_and_no_failure(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(deployment_mode="ome")
    _, phases = run(task, FakeClusterEngine(gpus=1), tmp_path)
    assert f"pending: {NO_ROOM}" in phases
    assert Experiment.objects.get(task=task).status == "SUCCESS"


def test_what_an_engine_waited_for_in_vain_is_told(make_task: MakeTask, tmp_path: Path) -> None:
    class NeverReady(FakeClusterEngine):
        def status(self, deployment: Deployment) -> EngineStatus:
            return EngineStatus(EngineState.STARTING, detail='secret "hub" not found')

    task = make_task(deployment_mode="ome", optimization={"timeout_per_iteration": 0.3})
    run(task, NeverReady(gpus=1), tmp_path)
    experiment = Experiment.objects.get(task=task)
    assert experiment.failure_kind == "startup_timeout"
    assert 'secret "hub" not found' in experiment.failure_message


def test_what_a_ready_engine_is_known_better_by_counts(make_task: MakeTask, tmp_path: Path) -> None:
    task, engine = make_task(deployment_mode="ome"), FakeClusterEngine(gpus=1)
    benchmark, _ = run(task, engine, tmp_path)
    assert [one.base_url for one in benchmark.measured] == [SERVICE]
    assert [one.base_url for one in engine.deleted] == [SERVICE]
    environment = Experiment.objects.get(task=task).environment
    assert environment == {"kubernetes_version": "v1.30.2", "node": "gpu-a"}


@pytest.mark.parametrize(("gpus", "per_gpu"), [(2, 250.0), (1, 500.0), (0, None)])
def test_gpus_of_the_cluster_are_counted_though_none_are_leased_here(
    make_task: MakeTask, tmp_path: Path, gpus: int, per_gpu: float | None
) -> None:
    task = make_task(deployment_mode="ome")
    run(task, FakeClusterEngine(gpus), tmp_path)
    experiment = Experiment.objects.get(task=task)
    assert (experiment.status, experiment.gpus_needed) == ("SUCCESS", gpus)
    (measurement,) = experiment.measurements.all()
    assert measurement.metrics.get("output_throughput_per_gpu_tokens_per_s") == per_gpu
