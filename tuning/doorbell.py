"""Ringing for workers and for open pages. A bell that nobody hears loses nothing.

Workers read the database when it rings, and the sweep rings again; pages read the database when it
rings, and look by themselves now and then.
"""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync
from celery import current_app
from channels.layers import get_channel_layer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from tuning.system.broker import broker_address

logger = logging.getLogger(__name__)

ADVANCE = "tuning.advance"
RUN_EXPERIMENT = "tuning.run_experiment"
"""Names of the jobs in `tuning.jobs`, by which messages call them."""

UNHEARD = (OperationalError, RedisError, OSError)
"""What a broker that is away raises."""


def ring_for_task(task_id: int) -> bool:
    """Ask the workers to look at a task. False when the broker is away."""
    return _send(ADVANCE, task_id)


def ring_for_experiment(experiment_id: int) -> bool:
    """Ask the workers to run an experiment. False when the broker is away."""
    return _send(RUN_EXPERIMENT, experiment_id)


def _send(job: str, number: int) -> bool:
    try:
        current_app.send_task(job, args=[number])
    except UNHEARD as error:
        logger.warning("no broker at %s: %s; the sweep rings again", broker_address(), error)
        return False
    return True


OVERVIEW_GROUP = "tasks"
"""Channels group of the pages that show many tasks."""


def task_group(task_id: int) -> str:
    """Channels group of the pages that watch a task."""
    return f"task.{task_id}"


def log_group(task_id: int) -> str:
    """Channels group of the pages that read a task's log."""
    return f"task.{task_id}.log"


def announce_task(task_id: int) -> None:
    """Tell open pages that something about the task has changed."""
    _announce(task_group(task_id), {"type": "task.changed"})
    _announce(OVERVIEW_GROUP, {"type": "task.changed"})


def announce_log(task_id: int, last_seq: int) -> None:
    """Tell open pages that the log is stored up to `last_seq`."""
    _announce(log_group(task_id), {"type": "log.grown", "last_seq": last_seq})


def _announce(group: str, message: dict[str, object]) -> None:
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(group, message)
    except UNHEARD as error:
        logger.debug("nobody told of %s: %s", group, error)
