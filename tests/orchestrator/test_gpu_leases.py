"""Every experiment gets all its cards or waits; no card is ever given to two."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import psutil
import pytest
from django.db import connection
from django.utils import timezone

from controllers.base import Controller, DeploymentIdentity
from tests.orchestrator.accelerators import (
    HOST,
    FakeHost,
    gpu_task,
    live_worker,
    pending,
    ports_on,
)
from tuning.domain.lifecycle import ExperimentEvent
from tuning.domain.names import DeploymentMode
from tuning.models import Experiment, GpuLease, Lease, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import pause, request_cancel, resume
from tuning.orchestrator.gpus import NOT_OVERTAKEN_AFTER, claim_with_gpus, next_in_line
from tuning.orchestrator.lease import HeldLease, process_name
from tuning.orchestrator.reaper import remove_orphans, return_abandoned_experiments
from tuning.orchestrator.run_experiment import run_experiment

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


def claim(experiment_id: int, host: FakeHost) -> HeldLease | None:
    return claim_with_gpus(experiment_id, ports_on(host))


def give_back(lease: HeldLease, *, engine_is_gone: bool = True) -> None:
    lease.end(ExperimentEvent.CANCELLED, engine_is_gone=engine_is_gone, finished_at=timezone.now())


def let_it_wait_long(experiment_id: int) -> None:
    since = timezone.now() - NOT_OVERTAKEN_AFTER - timedelta(seconds=1)
    Experiment.objects.filter(pk=experiment_id).update(waiting_since=since)


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


# --- Who is next ---


def test_the_largest_that_fits_goes_first_and_smaller_ones_fill_the_gaps(
    make_task: MakeTask,
) -> None:
    live_worker()
    host = FakeHost(gpus=8)
    busy, one, four, eight, two = pending(gpu_task(make_task), 8, 1, 4, 8, 2)
    lease = claim(busy, host)
    assert lease is not None
    for waiting in (one, four, eight, two):
        assert claim(waiting, host) is None
    assert next_in_line(host.cards()) == []
    host.in_use = {6, 7}
    give_back(lease)
    assert next_in_line(host.cards()) == [four, two]
    assert claim(one, host) is None
    assert claim(four, host)
    assert claim(one, host) is None
    host.in_use = {7}
    assert next_in_line(host.cards()) == [two, one]
    assert claim(one, host), "what is left is enough for the larger one"
    assert claim(two, host)


def test_one_that_has_waited_long_is_not_overtaken(make_task: MakeTask) -> None:
    live_worker()
    host = FakeHost(gpus=4)
    running, patient, small, seatless = pending(gpu_task(make_task), 2, 4, 1, 0)
    lease = claim(running, host)
    assert lease is not None
    assert claim(patient, host) is None
    let_it_wait_long(patient)
    assert claim(small, host) is None
    assert next_in_line(host.cards()) == []
    assert claim(seatless, host), "it takes no card from anybody"
    give_back(lease)
    assert next_in_line(host.cards()) == [patient]
    assert claim(small, host) is None
    assert claim(patient, host)


def test_of_those_that_have_waited_long_the_larger_goes_first_unless_an_hour_younger(
    make_task: MakeTask,
) -> None:
    live_worker()
    host = FakeHost(gpus=4)
    running, older, small, large = pending(gpu_task(make_task), 4, 1, 1, 4)
    lease = claim(running, host)
    assert lease is not None
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for waiting, hours_ago in ((older, 3), (small, 2), (large, 1.5)):
        assert claim(waiting, host) is None
        since = hour - timedelta(hours=hours_ago)
        Experiment.objects.filter(pk=waiting).update(waiting_since=since)
    give_back(lease)
    assert next_in_line(host.cards()) == [older]
    assert claim(large, host) is None
    assert claim(small, host) is None
    lease = claim(older, host)
    assert lease is not None
    assert claim(small, host) is None, "the cards are kept for the large one"
    give_back(lease)
    assert claim(large, host)


@pytest.mark.parametrize(
    "ghost", ["no worker", "dead driver", "paused", "cancelled", "larger than this host"]
)
def test_who_waits_in_vain_keeps_nobody_back(make_task: MakeTask, ghost: str) -> None:
    host = FakeHost(gpus=4)
    if ghost != "no worker":
        live_worker()
    waiting_task = gpu_task(make_task)
    (waiting,) = pending(waiting_task, 8 if ghost == "larger than this host" else 4)
    Experiment.objects.filter(pk=waiting).update(
        gpus_needed=8 if ghost == "larger than this host" else 4
    )
    let_it_wait_long(waiting)
    changes: dict[str, dict[str, Any]] = {
        "dead driver": {"driver": process_name(psutil.Process().pid, 1.0)},
        "paused": {"status": "PAUSED"},
        "cancelled": {"cancel_requested_at": timezone.now()},
    }
    if ghost in changes:
        Task.objects.filter(pk=waiting_task.pk).update(**changes[ghost])
    (small,) = pending(gpu_task(make_task), 1)
    assert claim(small, host)


# --- Too few for ever ---


def test_without_any_card_the_task_fails_instead_of_waiting(make_task: MakeTask) -> None:
    task = gpu_task(make_task)
    (experiment_id,) = pending(task, 2)
    assert run_experiment(experiment_id, ports_on(FakeHost(gpus=0))) == "FAILED"
    experiment = Experiment.objects.get(pk=experiment_id)
    assert experiment.failure_kind == "accelerator_missing"
    assert advance(task.pk).finished
    task.refresh_from_db()
    assert task.status_reason.startswith("Every configuration would fail alike")


def test_a_configuration_larger_than_any_host_fails_alone(make_task: MakeTask) -> None:
    live_worker("another", gpus=2)
    task = gpu_task(make_task)
    (experiment_id,) = pending(task, 8)
    assert run_experiment(experiment_id, ports_on(FakeHost(gpus=4))) == "FAILED"
    experiment = Experiment.objects.get(pk=experiment_id)
    assert experiment.failure_kind == "too_few_gpus"
    assert experiment.failure_message == (
        "The configuration takes 8 GPUs; no host here has more than 4."
    )
    assert not advance(task.pk).finished


def test_it_waits_for_a_larger_host_whose_worker_lives(make_task: MakeTask) -> None:
    live_worker("larger", gpus=8)
    (experiment_id,) = pending(gpu_task(make_task), 8)
    assert run_experiment(experiment_id, ports_on(FakeHost(gpus=4))) is None
    assert Experiment.objects.get(pk=experiment_id).status == "PENDING"


def test_a_task_with_a_driver_has_the_drivers_host_alone(make_task: MakeTask) -> None:
    live_worker("larger", gpus=8)
    task = gpu_task(make_task)
    Task.objects.filter(pk=task.pk).update(driver="this one")
    (experiment_id,) = pending(task, 8)
    assert run_experiment(experiment_id, ports_on(FakeHost(gpus=4))) == "FAILED"


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


def test_a_resumed_task_waits_anew(make_task: MakeTask) -> None:

    task = gpu_task(make_task)
    (experiment_id,) = pending(task, 8)
    live_worker("larger")
    assert claim(experiment_id, FakeHost(gpus=1)) is None
    request_cancel(task.pk)
    advance(task.pk)
    resume(task.pk)
    experiment = Experiment.objects.get(pk=experiment_id)
    assert (experiment.status, experiment.waiting_since) == ("PENDING", None)


def test_what_waits_in_a_paused_task_is_left_waiting(make_task: MakeTask) -> None:

    task = gpu_task(make_task)
    (experiment_id,) = pending(task, 1)
    assert pause(task.pk)
    assert advance(task.pk).ready == ()
    assert claim(experiment_id, FakeHost()) is None
