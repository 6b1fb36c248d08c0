"""Every experiment gets all its cards or waits; no card is ever given to two."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import cast

import psutil
import pytest
from django.db import connection

from controllers.base import Controller, DeploymentIdentity
from tests.orchestrator.accelerators import HOST, FakeHost, gpu_task, live_worker, pending, ports_on
from tests.orchestrator.claims import MakeTask, claim, give_back
from tuning.domain.names import DeploymentMode
from tuning.models import Experiment, GpuLease, Lease
from tuning.orchestrator.advance import advance
from tuning.orchestrator.gpus import claim_with_gpus, next_in_line
from tuning.orchestrator.lease import HeldLease, process_name
from tuning.orchestrator.reaper import remove_orphans, return_abandoned_experiments
from tuning.orchestrator.run_experiment import run_experiment

pytestmark = pytest.mark.django_db


class Engines:
    """A controller that only knows which engines there are."""

    def __init__(self, *names: DeploymentIdentity) -> None:
        self.up = list(names)

    def list_deployments(self, instance: str) -> list[DeploymentIdentity]:
        return list(self.up)

    def delete_orphan(self, identity: DeploymentIdentity) -> None:
        self.up.remove(identity)


# --- All of its cards, or none ---


def test_an_experiment_gets_cards_of_its_own_until_it_ends(make_task: MakeTask) -> None:
    host = FakeHost(gpus=4)
    first, second = pending(gpu_task(make_task), 2, 2)
    lease, other = claim(first, host), claim(second, host)
    assert lease is not None
    assert other is not None
    assert (lease.gpus, other.gpus) == ((0, 1), (2, 3))
    assert lease.experiment.gpus_needed == 2
    give_back(lease)
    assert list(GpuLease.objects.values_list("index", flat=True)) == [2, 3]


def test_without_enough_cards_it_waits_untouched_and_says_so_once(make_task: MakeTask) -> None:
    host = FakeHost(gpus=4)
    said: list[str] = []
    running, waiting = pending(gpu_task(make_task), 2, 4)
    assert claim(running, host)
    for _ in range(2):
        assert run_experiment(waiting, ports_on(host, said)) is None
    experiment = Experiment.objects.get(pk=waiting)
    assert (experiment.status, experiment.attempt, experiment.gpus_needed) == ("PENDING", 0, 4)
    assert experiment.waiting_since is not None
    assert said == ["Experiment 1: waits for 4 GPUs; 2 of 4 are free."]
    assert Lease.objects.count() == 1


def test_one_that_gets_its_cards_waits_no_more(make_task: MakeTask) -> None:
    host = FakeHost(gpus=2)
    running, waiting = pending(gpu_task(make_task), 2, 2)
    lease = claim(running, host)
    assert lease is not None
    assert claim(waiting, host) is None
    give_back(lease)
    lease = claim(waiting, host)
    assert lease is not None
    assert Experiment.objects.get(pk=waiting).waiting_since is None


def test_a_card_that_somebody_else_uses_is_left_alone(make_task: MakeTask) -> None:
    host = FakeHost(gpus=2, in_use={0})
    one, both = pending(gpu_task(make_task), 1, 2)
    assert claim(both, host) is None
    lease = claim(one, host)
    assert lease is not None
    assert lease.gpus == (1,)


def test_a_card_that_our_engine_fills_is_no_foreign_use(make_task: MakeTask) -> None:
    host = FakeHost(gpus=2)
    first, second = pending(gpu_task(make_task), 1, 1)
    assert claim(first, host)
    host.in_use = {0}
    lease = claim(second, host)
    assert lease is not None
    assert lease.gpus == (1,)


def test_hosts_have_cards_of_their_own(make_task: MakeTask) -> None:
    first, second = pending(gpu_task(make_task), 2, 2)
    lease, other = claim(first, FakeHost(2)), claim(second, FakeHost(2, name="elsewhere"))
    assert lease is not None
    assert other is not None
    assert lease.gpus == other.gpus == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_of_many_claims_at_once_none_share_a_card(make_task: MakeTask) -> None:
    host = FakeHost(gpus=4)
    leases: list[HeldLease] = []
    start = threading.Barrier(8)

    def try_to_claim(experiment_id: int) -> None:
        start.wait()
        lease = claim(experiment_id, host)
        if lease is not None:
            leases.append(lease)
        connection.close()

    threads = [
        threading.Thread(target=try_to_claim, args=(experiment_id,))
        for experiment_id in pending(gpu_task(make_task), *[1] * 8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(card for lease in leases for card in lease.gpus) == [0, 1, 2, 3]
    assert Experiment.objects.filter(waiting_since__isnull=False).count() == 4


# --- Engines that take no card ---


def test_engines_without_cards_measure_one_after_another(make_task: MakeTask) -> None:
    host = FakeHost(gpus=0)
    (first,) = advance(make_task().pk).ready
    (second,) = advance(make_task().pk).ready
    lease = claim(first, host)
    assert lease is not None
    assert lease.gpus == ()
    assert claim(second, host) is None
    give_back(lease)
    assert claim(second, host)


def test_a_task_may_ask_for_several_at_once_on_its_host(make_task: MakeTask) -> None:
    host = FakeHost(gpus=0)
    first, second = advance(make_task(optimization={"max_parallel": 2}).pk).ready
    (other,) = advance(make_task(optimization={"max_parallel": None}).pk).ready
    assert claim(first, host)
    assert claim(second, host)
    assert claim(other, host) is None


def test_who_waits_for_the_host_gets_it_before_the_next_of_the_same_task(
    make_task: MakeTask,
) -> None:
    live_worker(gpus=0)
    host = FakeHost(gpus=0)
    task = make_task()
    (first,) = advance(task.pk).ready
    (other,) = advance(make_task().pk).ready
    lease = claim(first, host)
    assert lease is not None
    assert claim(other, host) is None
    give_back(lease)
    (following,) = advance(task.pk).ready
    assert claim(following, host) is None
    assert next_in_line(host.cards())[0] == other
    assert claim(other, host)


def test_locally_flags_for_gpus_count_for_nothing_where_there_are_none(
    make_task: MakeTask,
) -> None:
    task = make_task(base_runtime="vllm", parameters={"tensor-parallel-size": 2})
    (experiment_id,) = advance(task.pk).ready
    lease = claim(experiment_id, FakeHost(gpus=0))
    assert lease is not None
    assert lease.experiment.gpus_needed == 0


# --- Dead workers ---


def test_cards_of_a_dead_worker_are_free_once_its_engine_is_removed(make_task: MakeTask) -> None:
    host = FakeHost(gpus=1)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = process_name(child.pid, psutil.Process(child.pid).create_time())
    task = gpu_task(make_task)
    experiment_id, other = pending(task, 1, 1)
    assert claim_with_gpus(experiment_id, ports_on(host, owner=owner))
    child.kill()
    child.wait()
    assert return_abandoned_experiments() == (experiment_id,)
    assert claim(other, host) is None, "the engine may still be on the card"
    engines = Engines(DeploymentIdentity("test", task.pk, experiment_id, 1))
    remove_orphans("test", DeploymentMode.LOCAL, cast(Controller, Engines()))
    assert claim(other, host) is None, "engines of another mode"
    remove_orphans("test", DeploymentMode.DOCKER, cast(Controller, engines))
    assert engines.up == []
    assert claim(other, host)


def test_cards_of_a_dead_worker_elsewhere_are_left_to_its_own_host(make_task: MakeTask) -> None:
    (experiment_id,) = pending(gpu_task(make_task), 1)
    assert claim(experiment_id, FakeHost(name="elsewhere"))
    Lease.objects.all().delete()
    remove_orphans("test", DeploymentMode.DOCKER, cast(Controller, Engines()))
    assert GpuLease.objects.get().host == "elsewhere"


def test_cards_of_an_engine_that_can_not_be_removed_stay_taken(make_task: MakeTask) -> None:
    host = FakeHost(gpus=1)
    first, second = pending(gpu_task(make_task), 1, 1)
    lease = claim(first, host)
    assert lease is not None
    give_back(lease, engine_is_gone=False)
    assert claim(second, host) is None
    assert GpuLease.objects.get(host=HOST).lease is None
