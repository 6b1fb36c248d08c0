"""The one tick of every wait in an experiment: its lease, a cancel, a deadline.

Nothing in an experiment waits by itself, so that nothing can outlive what ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tuning.domain.failures import Failure
from tuning.models import Experiment, Task
from tuning.orchestrator.lease import Heartbeat, LeaseLost

CANCEL_CHECK_INTERVAL_S = 1.0


class ExperimentFailed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ExperimentCancelled(Exception):
    """The task was cancelled."""


class ExperimentInterrupted(Exception):
    """This process was asked to stop, and the task is to go on elsewhere or later."""


class Patience:
    """Waits for as long as the experiment may go on. `interrupted` is that of `Ports`."""

    def __init__(
        self, experiment: Experiment, heartbeat: Heartbeat, interrupted: Callable[[], bool]
    ) -> None:
        self._experiment = experiment
        self._heartbeat = heartbeat
        self._interrupted = interrupted
        self._last_cancel_check = float("-inf")

    def wait_until(
        self,
        done: Callable[[], bool],
        timeout_s: float,
        overdue: Callable[[], Failure],
        ticks_s: tuple[float, float],
        is_held_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ask `done` again and again, at first with the shorter of the pauses `ticks_s`.

        Raises:
            ExperimentFailed: with what `overdue` gives, after `timeout_s` without being held up.
            LeaseLost, ExperimentCancelled, ExperimentInterrupted: as `stop_if_asked`.
        """
        shortest_s, longest_s = ticks_s
        started = time.monotonic()
        while not done():
            self.stop_if_asked()
            if is_held_up():
                started = time.monotonic()
            waited_s = time.monotonic() - started
            if waited_s > timeout_s:
                raise ExperimentFailed(overdue())
            time.sleep(min(max(shortest_s, waited_s / 20), longest_s))

    def stop_if_asked(self) -> None:
        """Raises LeaseLost, ExperimentCancelled, ExperimentInterrupted."""
        if self._heartbeat.lost:
            raise LeaseLost(str(self._experiment))
        interrupted = self._interrupted()
        now = time.monotonic()
        if interrupted or now - self._last_cancel_check >= CANCEL_CHECK_INTERVAL_S:
            self._last_cancel_check = now
            if self._task_is_cancelled():
                raise ExperimentCancelled
        if interrupted:
            raise ExperimentInterrupted

    def _task_is_cancelled(self) -> bool:
        return Task.objects.filter(
            pk=self._experiment.task_id, cancel_requested_at__isnull=False
        ).exists()
