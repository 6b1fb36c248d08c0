"""A claim has one winner, and whoever lost the lease records nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import psutil
import pytest
from django.db import connection, transaction
from django.utils import timezone

from tests.orchestrator.recording import OWNER
from tuning.domain.lifecycle import ExperimentEvent, ExperimentStatus
from tuning.models import Experiment, Lease, Measurement, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import (
    Heartbeat,
    HeldLease,
    LeaseLost,
    LeaseTimes,
    claim,
    process_is_gone,
    process_name,
    this_process,
)

MakeTask = Callable[..., Task]


def queued(task: Task) -> int:
    return advance(task.pk).ready[0]


@pytest.mark.django_db(transaction=True)
def test_of_many_claims_at_once_one_wins(make_task: MakeTask) -> None:
    experiment_id = queued(make_task())
    won: list[HeldLease] = []
    start = threading.Barrier(8)

    def try_to_claim(number: int) -> None:
        start.wait()
        lease = claim(experiment_id, f"host{number}/1/1.00")
        if lease is not None:
            won.append(lease)
        connection.close()

    threads = [threading.Thread(target=try_to_claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert Lease.objects.get().token == won[0].token
    assert Experiment.objects.get(pk=experiment_id).attempt == 1


@pytest.mark.django_db
def test_a_claim_drops_what_an_earlier_attempt_measured(make_task: MakeTask) -> None:
    experiment_id = queued(make_task())
    Measurement.objects.create(
        experiment_id=experiment_id,
        scenario="D(16,8)",
        concurrency=2,
        metrics={},
        num_requests=4,
        duration_s=1.0,
    )
    claim(experiment_id, OWNER)
    assert not Measurement.objects.exists()


@pytest.mark.django_db
def test_without_the_lease_nothing_is_written(make_task: MakeTask) -> None:
    lease = claim(queued(make_task()), OWNER)
    assert lease is not None
    Lease.objects.all().delete()
    with pytest.raises(LeaseLost):
        lease.record(deploy_s=1.0)
    with pytest.raises(LeaseLost):
        lease.move(ExperimentEvent.ENGINE_READY)
    with pytest.raises(LeaseLost):
        lease.end(ExperimentEvent.CANCELLED, finished_at=timezone.now())
    assert not lease.still_ours()
    experiment = Experiment.objects.get()
    assert experiment.state is ExperimentStatus.DEPLOYING
    assert experiment.deploy_s is None


@pytest.mark.django_db(transaction=True)
def test_who_writes_while_the_lease_is_taken_away_writes_nothing(make_task: MakeTask) -> None:
    lease = claim(queued(make_task()), OWNER)
    assert lease is not None
    lost: list[LeaseLost] = []
    goes = threading.Event()

    def write() -> None:
        goes.wait()
        try:
            lease.record(deploy_s=1.0)
        except LeaseLost as error:
            lost.append(error)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    with transaction.atomic():
        Lease.objects.all().delete()
        goes.set()
        time.sleep(0.3)  # for the writer to come and wait
    writer.join()
    assert len(lost) == 1
    assert Experiment.objects.get().deploy_s is None


@pytest.mark.django_db
def test_the_end_gives_the_lease_back(make_task: MakeTask) -> None:
    lease = claim(queued(make_task()), OWNER)
    assert lease is not None
    lease.end(ExperimentEvent.CANCELLED, finished_at=timezone.now())
    assert not Lease.objects.exists()
    assert lease.experiment.state is ExperimentStatus.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_is_renewed_until_the_lease_is_taken_away(make_task: MakeTask) -> None:
    lease = claim(queued(make_task()), OWNER)
    assert lease is not None
    long_ago = timezone.now() - timedelta(minutes=5)
    Lease.objects.update(heartbeat_at=long_ago)
    with Heartbeat(lease, LeaseTimes(lease_s=0.12)) as heartbeat:
        wait_for(lambda: Lease.objects.get().heartbeat_at > long_ago)
        assert not heartbeat.lost
        Lease.objects.all().delete()
        wait_for(lambda: heartbeat.lost)


def test_a_dead_process_is_told_from_a_living_one_and_from_another_hosts() -> None:
    assert not process_is_gone(this_process())
    assert not process_is_gone("some-other-host/1/1.00")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = process_name(child.pid, psutil.Process(child.pid).create_time())
    assert not process_is_gone(owner)
    child.kill()
    child.wait()
    assert process_is_gone(owner)


def test_a_clock_that_was_set_a_little_kills_nobody() -> None:
    started = psutil.Process().create_time()
    for apart_s in (-1.0, 1.0):
        assert not process_is_gone(process_name(os.getpid(), started + apart_s))
    assert process_is_gone(process_name(os.getpid(), started - 10))
    assert not process_is_gone("no name of a process at all")


def test_a_reused_pid_is_not_taken_for_the_owner() -> None:
    assert process_is_gone(process_name(os.getpid(), 12345.0))


def wait_for(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
