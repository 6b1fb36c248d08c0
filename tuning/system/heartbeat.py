"""Workers say that they are alive, so that pages need not ask a busy worker over the broker."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from datetime import timedelta

from django.db import DatabaseError, connection
from django.utils import timezone

from autotuner_site import __version__
from tuning.models import WorkerHeartbeat
from tuning.orchestrator.lease import lease_times, this_process

logger = logging.getLogger(__name__)

FORGOTTEN_AFTER_LEASES = 60
"""A silent worker stays on the pages for this many leases (an hour), so that its end is seen."""


class WorkerPulse:
    """This process as a worker in the database.

    `concurrency` is how many experiments it takes, `gpus` how many cards its host has, `cards_mib`
    the size of each that tells.
    A database that is away is only logged: a worker must not stop because nobody can see it.
    """

    def __init__(self, concurrency: int, gpus: int = 0, cards_mib: Sequence[float] = ()) -> None:
        self._concurrency = concurrency
        self._gpus = gpus
        self._cards_mib = list(cards_mib)
        self._name = this_process()
        self._started_at = timezone.now()

    def beat(self) -> None:
        """Renew the heartbeat, and forget workers that have been silent for long."""
        # The wall clock may have been set back since the start; a row must not contradict itself.
        now = max(timezone.now(), self._started_at)
        lifetime = timedelta(seconds=FORGOTTEN_AFTER_LEASES * lease_times().lease_s)
        try:
            WorkerHeartbeat.objects.update_or_create(
                name=self._name,
                defaults={
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "version": __version__,
                    "concurrency": self._concurrency,
                    "gpus": self._gpus,
                    "cards_mib": self._cards_mib,
                    "started_at": self._started_at,
                    "heartbeat_at": now,
                },
            )
            WorkerHeartbeat.objects.filter(heartbeat_at__lt=now - lifetime).delete()
        except DatabaseError:
            self._unheard("written")

    def stop(self) -> None:
        """Take this worker off the pages. Calling it twice is no error."""
        try:
            WorkerHeartbeat.objects.filter(name=self._name).delete()
        except DatabaseError:
            self._unheard("removed")

    def _unheard(self, what: str) -> None:
        logger.warning("the heartbeat of this worker can't be %s", what, exc_info=True)
        # A broken connection would fail for ever; the next beat opens a new one.
        connection.close()
