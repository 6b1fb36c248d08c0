"""Celery jobs: load a number, call the orchestrator, ring for what comes next.

A message is a hint. Delivered twice, it does nothing the second time; lost, the sweep rings again.
"""

from __future__ import annotations

import logging

from celery import shared_task
from django.conf import settings
from django.db.models import QuerySet

from tuning.composition import HostGpus, build_controller, build_ports
from tuning.doorbell import (
    ADVANCE,
    RUN_EXPERIMENT,
    announce_log,
    announce_task,
    ring_for_experiment,
    ring_for_task,
)
from tuning.logs import TaskLog
from tuning.models import Experiment, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.gpus import fitting_on_workers, next_in_line
from tuning.orchestrator.run_experiment import run_experiment
from tuning.worker_stop import asked_to_stop

logger = logging.getLogger(__name__)


@shared_task(name=ADVANCE)
def advance_task(task_id: int) -> None:
    """Take a task one step on and ring for its experiments."""
    if not Task.objects.for_workers().filter(pk=task_id).exists():
        return
    step = advance(
        task_id,
        max_running=settings.AUTOTUNER_MAX_RUNNING_TASKS,
        room_for=fitting_on_workers(HostGpus()),
    )
    announce_task(task_id)
    for experiment_id in step.ready:
        ring_for_experiment(experiment_id)
    if step.finished:
        ring_for_waiting_tasks()


@shared_task(name=RUN_EXPERIMENT)
def run_queued_experiment(experiment_id: int) -> None:
    """Run an experiment if it still waits for a worker, then ring for its task.

    Where it has to wait for GPUs, one that fits runs in its place, so that no message is lost on
    it. A worker that is asked to stop puts an experiment back into the queue for another, or for
    the next start.
    """
    if not _queued(experiment_id).exists():
        return
    if _run(experiment_id) or any(map(_run, next_in_line(HostGpus().cards()))):
        ring_for_waiting_experiments()


def _queued(experiment_id: int) -> QuerySet[Experiment]:
    return Experiment.objects.filter(pk=experiment_id, status="PENDING", task__driver="")


def _run(experiment_id: int) -> bool:
    """False when it was not to be had."""
    if asked_to_stop():
        return False
    experiment = _queued(experiment_id).select_related("task").first()
    if experiment is None:
        return False
    task_id = experiment.task_id
    spec = experiment.task.parsed_spec()
    controller = build_controller(spec.deployment_mode)
    log = TaskLog(
        task_id,
        settings.AUTOTUNER_LOG_DIR,
        on_stored=lambda last_seq: announce_log(task_id, last_seq),
    )
    with log:
        ports = build_ports(
            spec, controller, log, on_progress=PhaseBell(task_id), interrupted=asked_to_stop
        )
        ended_as = run_experiment(experiment_id, ports)
    announce_task(task_id)
    if ended_as is None:
        return False
    ring_for_task(task_id)
    return True


class PhaseBell:
    """Announces a task when its experiment does something new, not on every tick."""

    def __init__(self, task_id: int) -> None:
        self._task_id = task_id
        self._last_phase = ""

    def __call__(self, experiment_id: int, phase: str) -> None:
        if phase != self._last_phase:
            self._last_phase = phase
            announce_task(self._task_id)


def ring_for_waiting_experiments() -> None:
    """Those that wait for GPUs and fit on this host now, the largest first."""
    for experiment_id in next_in_line(HostGpus().cards()):
        ring_for_experiment(experiment_id)


def ring_for_waiting_tasks() -> None:
    """Tasks that wait for one of the running ones to end, the oldest first."""
    waiting = Task.objects.for_workers().filter(status="PENDING").order_by("pk")
    for task_id in waiting.values_list("pk", flat=True)[: settings.AUTOTUNER_MAX_RUNNING_TASKS]:
        ring_for_task(task_id)
