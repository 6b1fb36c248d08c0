"""Experiments of one task side by side: how many are queued, and one process that runs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from tests.orchestrator.accelerators import (
    GPUS_FLAG,
    FakeHost,
    FakeWatch,
    gpu_task,
    live_worker,
    pending,
    ports_on,
)
from tests.orchestrator.one_point import FakeBenchmark
from tests.services import wait_until
from tuning.domain.failures import Failure
from tuning.domain.spec import parse_task
from tuning.models import Experiment, GpuLease, Measurement, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.drive import drive
from tuning.orchestrator.gpus import fitting_here, fitting_on_workers
from tuning.orchestrator.run_experiment import run_experiment

MakeTask = Callable[..., Task]


@dataclass
class Engines:
    """Engines that are ready once `together` of them have been up at once, and fill their cards."""

    host: FakeHost
    together: int = 1
    up: dict[str, DeploymentRequest] = field(default_factory=dict)
    most_at_once: int = 0
    lingers: bool = False
    """Whether the memory of a card is only given back when somebody has looked."""
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick) -> Deployment:
        with self._guard:
            taken = {card for other in self.up.values() for card in other.gpus}
            assert taken.isdisjoint(request.gpus)
            self.up[request.identity.name] = request
            self.host.in_use |= {*request.gpus}
            self.most_at_once = max(self.most_at_once, len(self.up))
        return Deployment(request.identity, "http://127.0.0.1:9", ("engine",))

    def status(self, deployment: Deployment) -> EngineStatus:
        is_ready = self.most_at_once >= self.together
        return EngineStatus(EngineState.READY if is_ready else EngineState.STARTING)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        return None

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        return []

    def delete(self, deployment: Deployment) -> None:
        with self._guard:
            request = self.up.pop(deployment.identity.name)
        if not self.lingers:
            self.host.in_use -= {*request.gpus}


def measuring(host: FakeHost, engines: Engines, **others: Any) -> Any:
    return ports_on(
        host,
        controller=cast(Controller, engines),
        benchmark=cast(Benchmark, FakeBenchmark(50.0, num_requests=4, duration_s=4.0)),
        **others,
    )


def parameters_of(task: Task) -> list[Mapping[str, Any]]:
    return [experiment.parameters for experiment in task.experiments.all()]


# --- How many are queued ---


@pytest.mark.django_db
def test_as_many_as_the_task_says_are_queued_at_once(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_parallel": 3})
    assert len(advance(task.pk).ready) == 3
    assert len(advance(task.pk).ready) == 3
    assert task.experiments.count() == 3
    assert {"ctx-size": 2048} in parameters_of(task), "the baseline is one of them"


@pytest.mark.django_db
def test_the_limit_of_iterations_holds_for_them_together(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_parallel": 8, "max_iterations": 2})
    assert len(advance(task.pk).ready) == 3


@pytest.mark.django_db
def test_one_at_a_time_without_gpus(make_task: MakeTask) -> None:
    live_worker(gpus=0)
    host = FakeHost(gpus=0)
    for room_for in (fitting_here(host), fitting_on_workers(host)):
        assert room_for(make_task().parsed_spec()) == 1


@pytest.mark.django_db
def test_as_many_as_fit_on_the_cards_of_every_live_worker(make_task: MakeTask) -> None:
    live_worker("a", gpus=8)
    live_worker("b", gpus=5)
    task = gpu_task(make_task)
    fixed = parse_task({**task.spec, "parameters": {GPUS_FLAG: 2}})
    host = FakeHost(gpus=4)
    assert fitting_on_workers(host)(fixed) == 4 + 2
    assert fitting_here(host)(fixed) == 2


@pytest.mark.django_db
def test_a_place_that_is_free_again_is_filled(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_parallel": 2})
    first, _ = advance(task.pk).ready
    Experiment.objects.filter(pk=first).update(
        status="FAILED", failure_kind="crashed", finished_at=task.created_at
    )
    assert len(advance(task.pk).ready) == 2
    assert task.experiments.count() == 3


@pytest.mark.django_db
def test_what_was_tried_and_waits_is_told_apart(make_task: MakeTask) -> None:
    task = gpu_task(make_task, optimization={"max_parallel": 2})
    busy, waiting = pending(task, 4, 4)
    assert advance(task.pk).ready == (busy, waiting)
    host = FakeHost(gpus=4, in_use={0})
    assert run_experiment(waiting, ports_on(host)) is None
    step = advance(task.pk)
    assert (step.ready, step.waiting) == ((busy,), (waiting,))


# --- One process that runs them ---


@pytest.mark.django_db(transaction=True)
def test_a_process_runs_them_side_by_side(make_task: MakeTask) -> None:
    task = make_task(optimization={"max_parallel": 3})
    host = FakeHost(gpus=0)
    engines = Engines(host, together=3)
    drive(task.pk, measuring(host, engines))
    task.refresh_from_db()
    assert task.status == "COMPLETED"
    assert engines.most_at_once == 3
    assert {one.status for one in task.experiments.all()} == {"SUCCESS"}
    assert engines.up == {}
    assert not GpuLease.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_with_too_few_cards_for_all_they_take_turns(make_task: MakeTask) -> None:
    task = gpu_task(make_task, optimization={"max_parallel": 5, "baseline": False})
    host = FakeHost(gpus=8)
    engines = Engines(host)
    drive(task.pk, measuring(host, engines))
    task.refresh_from_db()
    assert task.status == "COMPLETED"
    assert {one.gpus_needed for one in task.experiments.all()} == {1, 2, 4, 8}


@pytest.mark.django_db(transaction=True)
def test_one_that_waits_in_vain_asks_for_what_the_dead_hold(make_task: MakeTask) -> None:
    task = make_task(optimization={"baseline": False, "max_iterations": 1})
    host = FakeHost(gpus=0)
    GpuLease.objects.create(host=host.name, index=-1, deployment_mode="local")
    ports = measuring(host, Engines(host), take_back=GpuLease.objects.all().delete)
    drive(task.pk, ports)
    task.refresh_from_db()
    assert task.status == "COMPLETED"


@pytest.mark.django_db(transaction=True)
def test_what_breaks_in_a_thread_is_heard_of(make_task: MakeTask) -> None:
    def torn() -> bool:
        if threading.current_thread() is not threading.main_thread():
            raise SystemExit(3)
        return False

    host = FakeHost(gpus=0)
    engines = Engines(host, together=9)
    with pytest.raises(SystemExit):
        drive(make_task().pk, measuring(host, engines, interrupted=torn))
    assert engines.up == {}


# --- What the cards tell ---


@pytest.mark.django_db(transaction=True)
def test_a_measurement_has_what_its_cards_did_meanwhile(make_task: MakeTask) -> None:
    task = gpu_task(make_task)
    (experiment_id,) = pending(task, 2)
    watch = FakeWatch({"gpu_power_mean_w": 600.0, "gpu_memory_used_max_mib": 70_000.0})
    host = FakeHost(gpus=4, in_use={0}, gpu_watch=watch)
    assert run_experiment(experiment_id, measuring(host, Engines(host))) == "SUCCESS"
    assert Measurement.objects.get().metrics == {
        "output_throughput_tokens_per_s": 50.0,
        "error_rate": 0.0,
        "gpu_power_mean_w": 600.0,
        "gpu_memory_used_max_mib": 70_000.0,
        "output_throughput_per_gpu_tokens_per_s": 25.0,
        "energy_per_output_token_j": 12.0,
    }
    assert host.watched == (1, 2)
    assert watch.spans_s == [4.0]
    assert watch.stopped


@pytest.mark.django_db(transaction=True)
def test_without_cards_there_are_no_metrics_of_any(make_task: MakeTask) -> None:
    host = FakeHost(gpus=0)
    task = make_task()
    (experiment_id,) = advance(task.pk).ready
    run_experiment(experiment_id, measuring(host, Engines(host)))
    assert set(Measurement.objects.get().metrics) == {
        "output_throughput_tokens_per_s",
        "error_rate",
    }


@pytest.mark.django_db(transaction=True)
def test_cards_are_given_back_empty(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.orchestrator.gpus.EMPTYING_S", 120.0)
    (experiment_id,) = pending(gpu_task(make_task), 1)
    host = FakeHost(gpus=1)
    engines = Engines(host, lingers=True)
    ended: list[Any] = []
    ports = measuring(host, engines)

    def run() -> None:
        ended.append(run_experiment(experiment_id, ports))

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: engines.most_at_once == 1 and not engines.up, "the engine's end")
    assert GpuLease.objects.exists()
    host.in_use = set()
    thread.join()
    assert ended == ["SUCCESS"]
    assert not GpuLease.objects.exists()
