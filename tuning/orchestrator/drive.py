"""Driving a task to its end in one process, by the same steps that the workers take."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from django.db import connection

from tuning.domain.lifecycle import ExperimentStatus
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import request_cancel
from tuning.orchestrator.gpus import fitting_here
from tuning.orchestrator.lease import lease_times
from tuning.orchestrator.ports import Ports
from tuning.orchestrator.run_experiment import run_experiment

LOOK_AGAIN_S = 1.0
"""After this long, what waits for GPUs or for another process is tried again."""
MOST_THREADS = 256
"""More experiments than any host has GPUs for."""


def drive(task_id: int, ports: Ports) -> None:
    """Run a task until it is finished, or until it is cancelled because of an interrupt."""
    cancelling = replace(ports, interrupted=_cancelling(task_id, ports.interrupted))
    with ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="experiment") as threads:
        _Drive(task_id, cancelling, threads).run()


class _Drive:
    """One task, with each of its experiments in a thread."""

    def __init__(self, task_id: int, ports: Ports, threads: ThreadPoolExecutor) -> None:
        self._task_id = task_id
        self._ports = ports
        self._threads = threads
        self._room_for = fitting_here(ports.accelerators)
        self._under_way: dict[int, Future[ExperimentStatus | None]] = {}
        self._last_taken_back = float("-inf")

    def run(self) -> None:
        while True:
            interrupted = self._ports.interrupted()
            step = advance(self._task_id, room_for=self._room_for)
            if step.finished and not self._under_way:
                return
            if not interrupted:
                self._start((*step.waiting, *step.ready))
            if not self._something_was_done() and step.waiting:
                self._take_back()

    def _start(self, experiment_ids: tuple[int, ...]) -> None:
        for experiment_id in experiment_ids:
            if experiment_id not in self._under_way:
                self._under_way[experiment_id] = self._threads.submit(self._run, experiment_id)

    def _run(self, experiment_id: int) -> ExperimentStatus | None:
        try:
            return run_experiment(experiment_id, self._ports)
        finally:
            connection.close()

    def _something_was_done(self) -> bool:
        """Wait for the end of an experiment; False when there was none for a while.

        One that was not to be had does not count, or it would be tried again and again at once.
        """
        deadline = time.monotonic() + LOOK_AGAIN_S
        while (left_s := deadline - time.monotonic()) > 0:
            if not self._under_way:
                time.sleep(left_s)
                return False
            done, _ = wait(self._under_way.values(), left_s, FIRST_COMPLETED)
            ended = {key: one for key, one in self._under_way.items() if one in done}
            for experiment_id in ended:
                del self._under_way[experiment_id]
            if any(future.result() is not None for future in ended.values()):
                return True
        return False

    def _take_back(self) -> None:
        """What is waited for may be held by somebody who is dead."""
        if time.monotonic() - self._last_taken_back > lease_times().sweep_s:
            self._last_taken_back = time.monotonic()
            self._ports.take_back()


def _cancelling(task_id: int, interrupted: Callable[[], bool]) -> Callable[[], bool]:
    """`interrupted`, with the task cancelled before anybody hears of it.

    Nobody goes on with a task that this process drives, so its experiment must not go back to the
    queue as that of a stopping worker does.
    """

    def interrupted_and_cancelled() -> bool:
        if not interrupted():
            return False
        request_cancel(task_id)
        return True

    return interrupted_and_cancelled
