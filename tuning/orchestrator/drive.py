"""Driving a task to its end in one process, by the same steps that the workers take."""

from __future__ import annotations

import time

from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import request_cancel
from tuning.orchestrator.ports import Ports
from tuning.orchestrator.run_experiment import run_experiment

WAIT_FOR_OTHERS_S = 1.0


def drive(task_id: int, ports: Ports) -> None:
    """Run a task until it is finished, or until it is cancelled because of an interrupt."""
    while True:
        if ports.interrupted():
            request_cancel(task_id)
        step = advance(task_id)
        if step.finished:
            return
        for experiment_id in step.ready:
            if not ports.interrupted():
                run_experiment(experiment_id, ports)
        if not step.ready:
            time.sleep(WAIT_FOR_OTHERS_S)
