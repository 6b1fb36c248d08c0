"""Who waits for cards: whose turn is next, and who would wait for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psutil
import pytest
from django.utils import timezone

from tests.orchestrator.accelerators import FakeHost, gpu_task, live_worker, pending, ports_on
from tests.orchestrator.claims import MakeTask, claim, give_back
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import pause, request_cancel, resume
from tuning.orchestrator.gpus import NOT_OVERTAKEN_AFTER, next_in_line
from tuning.orchestrator.lease import process_name
from tuning.orchestrator.run_experiment import run_experiment

pytestmark = pytest.mark.django_db


def let_it_wait_long(experiment_id: int) -> None:
    since = timezone.now() - NOT_OVERTAKEN_AFTER - timedelta(seconds=1)
    Experiment.objects.filter(pk=experiment_id).update(waiting_since=since)


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


# --- Resumed and paused ---


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
