"""What the workers' jobs run and whom they ring for: nobody is forgotten, nobody rings for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from controllers.base import DeploymentError, DeploymentIdentity
from controllers.registry import DeploymentModeUnavailable
from tests.orchestrator.accelerators import HOST, FakeHost, gpu_task, live_worker, pending, ports_on
from tuning import composition, jobs, sweep
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentEvent, ExperimentStatus
from tuning.domain.names import DeploymentMode
from tuning.models import GpuLease, Task, WorkerHeartbeat
from tuning.orchestrator.gpus import claim_with_gpus
from tuning.orchestrator.lease import HeldLease

pytestmark = pytest.mark.django_db(transaction=True)

MakeTask = Callable[..., Task]


@dataclass
class Worker:
    """This process as a worker whose experiments end as soon as they are claimed."""

    host: FakeHost
    ran: list[int] = field(default_factory=list)
    rung: list[int] = field(default_factory=list)
    rung_tasks: list[int] = field(default_factory=list)

    def run_experiment(self, experiment_id: int, ports: Any) -> ExperimentStatus | None:
        lease = claim_with_gpus(experiment_id, ports)
        if lease is None:
            return None
        self.ran.append(experiment_id)
        lease.end(ExperimentEvent.CANCELLED, finished_at=lease.experiment.started_at)
        return lease.experiment.state


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    worker = Worker(FakeHost(gpus=4))
    for module in (jobs, sweep):
        monkeypatch.setattr(module, "HostGpus", lambda: worker.host)
        monkeypatch.setattr(module, "announce_task", lambda task_id: None)
        monkeypatch.setattr(module, "ring_for_experiment", worker.rung.append)
    monkeypatch.setattr(jobs, "announce_log", lambda task_id, last_seq: None)
    monkeypatch.setattr(jobs, "ring_for_task", worker.rung_tasks.append)
    monkeypatch.setattr(jobs, "build_ports", lambda *given, **named: ports_on(worker.host))
    monkeypatch.setattr(jobs, "run_experiment", worker.run_experiment)
    live_worker(gpus=4)
    return worker


def held(experiment_id: int, worker: Worker) -> HeldLease:
    lease = claim_with_gpus(experiment_id, ports_on(worker.host))
    assert lease is not None
    return lease


def test_after_an_experiment_its_task_and_those_that_wait_and_fit_are_rung_for(
    make_task: MakeTask, worker: Worker
) -> None:
    task = gpu_task(make_task)
    small, large, runs = pending(task, 1, 4, 4)
    lease = held(runs, worker)
    for waiting in (small, large):
        jobs.run_queued_experiment(waiting)
    assert (worker.ran, worker.rung) == ([], [])
    lease.end(ExperimentEvent.ABANDONED)
    jobs.run_queued_experiment(runs)
    assert worker.ran == [large], "it goes first, and this worker is free for it"
    assert worker.rung == [runs], "of the two that take four, the older; nothing is left for small"
    assert worker.rung_tasks == [task.pk]


def test_one_that_has_to_wait_is_replaced_by_one_that_fits(
    make_task: MakeTask, worker: Worker
) -> None:
    task = gpu_task(make_task)
    runs, small, large = pending(task, 2, 2, 4)
    worker.host.in_use = {3}
    lease = held(runs, worker)
    jobs.run_queued_experiment(small)
    assert worker.ran == []
    worker.host.in_use = set()
    jobs.run_queued_experiment(large)
    assert worker.ran == [small]
    lease.end(ExperimentEvent.ABANDONED)


def test_a_message_for_nobody_rings_for_nobody(make_task: MakeTask, worker: Worker) -> None:
    runs, waits = pending(gpu_task(make_task), 4, 1)
    held(runs, worker)
    jobs.run_queued_experiment(waits)
    for experiment_id in (runs, waits, 10_000):
        jobs.run_queued_experiment(experiment_id)
    assert (worker.ran, worker.rung, worker.rung_tasks) == ([], [], [])


def test_a_stopping_worker_begins_nothing(
    make_task: MakeTask, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "asked_to_stop", lambda: True)
    (experiment_id,) = pending(gpu_task(make_task), 1)
    jobs.run_queued_experiment(experiment_id)
    assert worker.ran == []


def test_as_many_are_queued_as_the_workers_have_cards_for(
    make_task: MakeTask, worker: Worker
) -> None:
    task = gpu_task(make_task)
    task.spec["parameters"] = {"tensor-parallel-size": 2, "max-num-seqs": [1, 2, 3]}
    task.save()
    jobs.advance_task(task.pk)
    assert len(worker.rung) == 2
    WorkerHeartbeat.objects.update(gpus=8)
    jobs.advance_task(task.pk)
    assert task.experiments.count() == 4


def test_a_sweep_rings_for_those_that_wait_only_when_they_fit(
    make_task: MakeTask, worker: Worker
) -> None:
    runs, waits = pending(gpu_task(make_task), 4, 1)
    lease = held(runs, worker)
    jobs.run_queued_experiment(waits)
    sweep.ring_again()
    assert worker.rung == []
    lease.end(ExperimentEvent.CANCELLED, finished_at=lease.experiment.started_at)
    sweep.ring_again()
    assert worker.rung == [waits]


def test_a_worker_takes_as_many_experiments_as_its_host_has_cards(worker: Worker) -> None:
    worker.host.gpus = 8
    for configured, taken in ((5, 8), (9, 9)):
        conf = SimpleNamespace(worker_concurrency=configured)
        sweep.make_room_for_every_gpu(conf=conf)
        assert conf.worker_concurrency == taken


class Engines:
    """A controller without engines, or whose engines nobody can ask for."""

    def __init__(self, *, reachable: bool) -> None:
        self._reachable = reachable

    def list_deployments(self, instance: str) -> list[DeploymentIdentity]:
        if not self._reachable:
            raise DeploymentError(FailureKind.ENGINE_MISSING, "no Docker engine")
        return []


def test_engines_that_can_not_be_reached_keep_only_their_own_cards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def controller(mode: DeploymentMode) -> Engines:
        if mode is DeploymentMode.OME:
            raise DeploymentModeUnavailable
        return Engines(reachable=mode is DeploymentMode.LOCAL)

    monkeypatch.setattr(composition, "build_controller", controller)
    for index, mode in enumerate((DeploymentMode.LOCAL, DeploymentMode.DOCKER)):
        GpuLease.objects.create(host=HOST, index=index, deployment_mode=mode.value)
    composition.take_back()
    assert GpuLease.objects.get().deployment_mode == "docker"
