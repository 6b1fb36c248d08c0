"""The periodic sweep: what was lost is rung for again, what was left behind is removed.

Every worker sweeps in a thread of its own, at its start and then twice in a lease. Two sweeps at
once do no harm: each of their steps is a conditional update.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery.signals import celeryd_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import connection

from tuning.composition import HostGpus, take_back
from tuning.doorbell import announce_task, ring_for_experiment
from tuning.housekeeping import apply_retention
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.gpus import fitting_on_workers, next_in_line
from tuning.orchestrator.lease import lease_times
from tuning.orchestrator.reaper import Reaped
from tuning.system.heartbeat import WorkerPulse

logger = logging.getLogger(__name__)

LAST_SWEEP_S = 5.0
"""Seconds that a worker's end waits for its sweep. A daemon thread, it dies with the process."""


def sweep() -> Reaped:
    """Take back from dead workers, stop orphaned engines, move every open task on."""
    reaped = take_back()
    for experiment in Experiment.objects.filter(pk__in=reaped.experiments):
        announce_task(experiment.task_id)
    ring_again()
    apply_retention()
    return reaped


def ring_again() -> None:
    """Move every open task of the workers on, and ring for experiments that wait for a worker.

    Of those that wait for GPUs only for those that fit now: more would only fill the queue.
    """
    host = HostGpus()
    room_for = fitting_on_workers(host)
    for task_id in Task.objects.for_workers().open().order_by("pk").values_list("pk", flat=True):
        step = advance(task_id, max_running=settings.AUTOTUNER_MAX_RUNNING_TASKS, room_for=room_for)
        if step.finished:
            announce_task(task_id)
        for experiment_id in step.ready:
            ring_for_experiment(experiment_id)
    for experiment_id in next_in_line(host.cards()):
        ring_for_experiment(experiment_id)


class Sweeper:
    """Sweeps in a thread until it is told to stop; each time it says that its worker is alive."""

    def __init__(self, pulse: WorkerPulse) -> None:
        self._pulse = pulse
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._done.is_set():
            try:
                self._pulse.beat()
                reaped = sweep()
                if reaped.experiments or reaped.engines:
                    logger.warning("sweep: %s", reaped)
            except Exception:
                # The next one may do better; a sweep that stays away would strand every task.
                logger.exception("sweep failed")
            finally:
                connection.close()
            self._done.wait(lease_times().sweep_s)
        self._pulse.stop()
        connection.close()


_sweeper: Sweeper | None = None


@celeryd_init.connect
def make_room_for_every_gpu(conf: Any, **_: object) -> None:
    """A worker takes at least as many experiments at once as its host has GPUs.

    `celery worker --concurrency` still says otherwise.
    """
    conf.worker_concurrency = max(conf.worker_concurrency, len(HostGpus().cards().present))


@worker_ready.connect
def start_sweeping(sender: Any, **_: object) -> None:
    global _sweeper
    cards = HostGpus().cards()
    sizes = list(cards.memory_mib.values())
    _sweeper = Sweeper(WorkerPulse(sender.controller.concurrency, len(cards.present), sizes))
    _sweeper.start()


@worker_shutting_down.connect
def stop_sweeping(**_: object) -> None:
    if _sweeper is not None:
        _sweeper.stop()


@worker_shutdown.connect
def end_sweeping(**_: object) -> None:
    """Wait until the worker's heartbeat is removed: an idle worker would be gone before that."""
    if _sweeper is not None:
        _sweeper.stop()
        _sweeper.join(LAST_SWEEP_S)
