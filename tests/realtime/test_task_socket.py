"""A page sees every change of its task, by the bell or by its own look, and nothing twice."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from websockets.sync.connection import Connection

from tests.realtime.conftest import Site
from tests.realtime.sockets import Browser, receive
from tests.services import wait_until
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.doorbell import announce_task, task_group
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.realtime.bell import LOOK_EVERY_S

QUICK_S = 1.0
"""Well below the time between two looks: what arrives sooner was rung for."""

assert QUICK_S < LOOK_EVERY_S


def joined(site: Site, task: Task) -> bool:
    """Whether a page listens to the task's bell."""
    with site.redis.client() as client:
        return bool(client.keys(f"*{task_group(task.pk)}"))


def documents(socket: Connection, seconds: float) -> list[dict[str, Any]]:
    """All that arrives within so many seconds."""
    deadline, received = time.monotonic() + seconds, []
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            received.append(receive(socket, left_s))
        except TimeoutError:
            break
    return received


def finish(experiment: Experiment, **fields: Any) -> None:
    """Record an outcome of an experiment that took ten seconds."""
    now = timezone.now()
    started = now - timedelta(seconds=10)
    Experiment.objects.filter(pk=experiment.pk).update(
        attempt=1, started_at=started, finished_at=now, **fields
    )


def test_the_first_document_says_how_the_task_is(browser: Browser, task: Task) -> None:
    advance(task.pk)
    with browser.open_task(task.pk) as socket:
        document = receive(socket)
    assert (document["status"], document["is_terminal"]) == ("RUNNING", False)
    assert document["objective"]["direction"] == "maximize"
    assert document["progress"] == {
        "finished": 0,
        "total": 5,
        "eta_s": None,
        "running": None,
        "best": None,
        "gain_over_baseline": None,
        "verdicts": [],
    }
    (baseline,) = document["experiments"]
    assert (baseline["number"], baseline["is_baseline"]) == (0, True)
    assert (baseline["status"], baseline["failure"]) == ("PENDING", None)


def test_results_failures_and_progress_arrive(browser: Browser, task: Task) -> None:
    outcomes: list[dict[str, Any]] = [
        {"status": "SUCCESS", "objective_value": 100.0, "score": 100.0, "deploy_s": 1.5},
        {"status": "SUCCESS", "objective_value": 150.0, "score": 150.0, "benchmark_s": 8.0},
        {"status": "FAILED", "failure_kind": FailureKind.OUT_OF_MEMORY, "failure_message": "x"},
    ]
    for outcome in outcomes:
        finish(Experiment.objects.get(pk=advance(task.pk).ready[0]), **outcome)
    with browser.open_task(task.pk) as socket:
        document = receive(socket)
    progress = document["progress"]
    assert (progress["finished"], progress["total"]) == (3, 5)
    assert progress["eta_s"] == pytest.approx(20.0)
    assert (progress["best"]["number"], progress["gain_over_baseline"]) == (1, 0.5)
    baseline, best, failed = document["experiments"]
    assert (baseline["deploy_s"], best["benchmark_s"]) == (1.5, 8.0)
    assert best["parameters"] == progress["best"]["parameters"] != {}
    assert failed["failure"]["kind"] == "out_of_memory"
    assert failed["failure"]["hint"]


def test_a_ring_brings_the_change_at_once(site: Site, browser: Browser, task: Task) -> None:
    with browser.open_task(task.pk) as socket:
        assert receive(socket)["status"] == "PENDING"
        wait_until(lambda: joined(site, task), "the page to listen")
        advance(task.pk)
        announce_task(task.pk)
        assert receive(socket, QUICK_S)["status"] == "RUNNING"


def test_a_lost_ring_only_costs_time(browser: Browser, task: Task) -> None:
    with browser.open_task(task.pk) as socket:
        receive(socket)
        advance(task.pk)
        assert receive(socket, LOOK_EVERY_S + QUICK_S)["status"] == "RUNNING"


def test_a_ring_without_a_change_sends_nothing(site: Site, browser: Browser, task: Task) -> None:
    with browser.open_task(task.pk) as socket:
        receive(socket)
        wait_until(lambda: joined(site, task), "the page to listen")
        announce_task(task.pk)
        assert documents(socket, QUICK_S) == []


def test_the_eta_alone_is_no_change(browser: Browser, task: Task) -> None:
    first = Experiment.objects.get(pk=advance(task.pk).ready[0])
    finish(first, status=ExperimentStatus.SUCCESS, objective_value=1.0, score=1.0)
    Experiment.objects.filter(pk=advance(task.pk).ready[0]).update(
        status=ExperimentStatus.BENCHMARKING, attempt=1, started_at=timezone.now()
    )
    with browser.open_task(task.pk) as socket:
        assert receive(socket)["progress"]["eta_s"] > 0
        assert documents(socket, LOOK_EVERY_S + QUICK_S / 2) == []


@pytest.mark.slow
def test_many_changes_at_once_are_few_documents(site: Site, browser: Browser, task: Task) -> None:
    with browser.open_task(task.pk) as socket:
        receive(socket)
        wait_until(lambda: joined(site, task), "the page to listen")
        began, changes = time.monotonic(), 0
        while time.monotonic() < began + 3:
            changes += 1
            Task.objects.filter(pk=task.pk).update(status_reason=f"change {changes}")
            announce_task(task.pk)
        received = documents(socket, QUICK_S)
    assert changes > 50
    assert received[-1]["status_reason"] == f"change {changes}"
    assert len(received) <= 4 * (3 + QUICK_S) + 1


@pytest.mark.slow
def test_a_page_outlives_the_channel_layer(site: Site, browser: Browser, task: Task) -> None:
    """Stock Channels consumers end here; and redis-py gives up a quiet connection after 5 s."""
    with browser.open_task(task.pk) as socket:
        receive(socket)
        assert documents(socket, 6.0) == []
        advance(task.pk)
        announce_task(task.pk)
        assert receive(socket, QUICK_S)["status"] == "RUNNING"
        site.redis.kill()
        Task.objects.filter(pk=task.pk).update(status_reason="said while nothing rings")
        announce_task(task.pk)
        assert receive(socket, LOOK_EVERY_S + QUICK_S)["status_reason"]
        site.redis.start()
        wait_until(lambda: joined(site, task), "the page to join again", LOOK_EVERY_S + QUICK_S)
        time.sleep(1)
        Task.objects.filter(pk=task.pk).update(status_reason="")
        announce_task(task.pk)
        assert receive(socket, QUICK_S)["status_reason"] == ""
        site.redis.flush()
        wait_until(lambda: joined(site, task), "the page to join again", LOOK_EVERY_S + QUICK_S)
        Task.objects.filter(pk=task.pk).update(status_reason="rung for again")
        announce_task(task.pk)
        assert receive(socket, QUICK_S)["status_reason"] == "rung for again"


def test_a_page_opens_while_the_channel_layer_is_away(
    site: Site, browser: Browser, task: Task
) -> None:
    site.redis.kill()
    try:
        with browser.open_task(task.pk) as socket:
            assert receive(socket)["status"] == "PENDING"
            Task.objects.filter(pk=task.pk).update(
                status=TaskStatus.CANCELLED, finished_at=timezone.now()
            )
            assert receive(socket)["is_terminal"]
    finally:
        site.redis.start()
