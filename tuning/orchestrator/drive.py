"""Driving a task to its end in one process, by the same steps that the workers take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import request_cancel
from tuning.orchestrator.ports import Ports
from tuning.orchestrator.run_experiment import run_experiment

WAIT_FOR_OTHERS_S = 1.0


def drive(task_id: int, ports: Ports) -> None:
    """Run a task until it is finished, or until it is cancelled because of an interrupt."""
    cancelling = replace(ports, interrupted=_cancelling(task_id, ports.interrupted))
    while True:
        if ports.interrupted():
            request_cancel(task_id)
        step = advance(task_id)
        if step.finished:
            return
        for experiment_id in step.ready:
            if not ports.interrupted():
                run_experiment(experiment_id, cancelling)
        if not step.ready:
            time.sleep(WAIT_FOR_OTHERS_S)


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
