"""Who runs an experiment: claimed by whoever locks its row first, kept by heartbeats.

The database owns liveness. A worker that lost its lease can record nothing, because every write
filters on the lease's token.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import psutil
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone

from tuning.domain.lifecycle import ExperimentEvent, TaskStatus, target_of
from tuning.models import Experiment, GpuLease, Lease
from tuning.orchestrator.transitions import legal_statuses

logger = logging.getLogger(__name__)

START_TIME_TOLERANCE_S = 2.0
"""Start times are counted from the boot, in whole seconds of a clock that may be set: after a
correction by less than a second, every process seems to have been started a second apart."""

_PROCESS_NAME = re.compile(r"(?P<host>[^/]+)/(?P<pid>\d+)/(?P<started>\d+(\.\d+)?)")


@dataclass(frozen=True)
class LeaseTimes:
    """All in seconds, in the proportion 60 : 10 : 45 : 30."""

    lease_s: float

    @property
    def heartbeat_s(self) -> float:
        return self.lease_s / 6

    @property
    def give_up_s(self) -> float:
        """A worker stops its engine itself before the lease runs out and another takes over."""
        return self.lease_s * 3 / 4

    @property
    def sweep_s(self) -> float:
        return self.lease_s / 2


def lease_times() -> LeaseTimes:
    return LeaseTimes(float(settings.AUTOTUNER_LEASE_S))


class LeaseLost(Exception):
    """Another worker may run this experiment now: nothing more may be recorded."""


def this_process() -> str:
    """`host/pid/start time`: names this process for good, where a bare pid may be reused."""
    return process_name(os.getpid(), psutil.Process().create_time())


def process_name(pid: int, create_time: float) -> str:
    return f"{socket.gethostname()}/{pid}/{create_time:.2f}"


def host_of(owner: str) -> str:
    return owner.partition("/")[0]


def process_is_gone(owner: str) -> bool:
    """True only when the owner ran on this host and is surely dead."""
    named = _PROCESS_NAME.fullmatch(owner)
    if named is None or named["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(named["pid"]))
        apart_s = abs(process.create_time() - float(named["started"]))
        return process.status() == psutil.STATUS_ZOMBIE or apart_s > START_TIME_TOLERANCE_S
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


class HeldLease:
    """The right to record what happens to one experiment, and the indices of its `gpus`."""

    def __init__(
        self, experiment: Experiment, token: uuid.UUID, gpus: tuple[int, ...] = ()
    ) -> None:
        self.experiment = experiment
        self.token = token
        self.gpus = gpus

    def record(self, **fields: Any) -> None:
        """Write fields of the experiment.

        Raises:
            LeaseLost: the lease is not ours any more; nothing was written.
        """
        with transaction.atomic():
            self._hold()
            Experiment.objects.filter(pk=self.experiment.pk).update(**fields)
        self._remember(fields)

    def move(self, event: ExperimentEvent, **fields: Any) -> None:
        """Move the experiment on by `event` and write `fields` with it.

        Raises:
            LeaseLost: the lease is not ours any more; nothing was written.
        """
        with transaction.atomic():
            self._hold()
            moved = Experiment.objects.filter(
                pk=self.experiment.pk, status__in=legal_statuses(event)
            ).update(status=target_of(event), **fields)
            if not moved:
                raise LeaseLost(str(self.experiment))
        self._remember({"status": target_of(event), **fields})

    def end(self, event: ExperimentEvent, *, engine_is_gone: bool = True, **fields: Any) -> None:
        """Record the outcome and give the lease back, both or neither.

        The cards go with it; those of an engine that may still be up stay taken until a sweep has
        removed it.
        """
        with transaction.atomic():
            self.move(event, **fields)
            if engine_is_gone:
                GpuLease.objects.filter(lease__token=self.token).delete()
            Lease.objects.filter(token=self.token).delete()

    def still_ours(self) -> bool:
        """Renew the heartbeat; False when the lease is gone."""
        return bool(Lease.objects.filter(token=self.token).update(heartbeat_at=timezone.now()))

    def _hold(self) -> None:
        """Nobody takes the lease away before this transaction ends.

        A condition of the UPDATE would not do: PostgreSQL answers it from before it has waited for
        whoever is taking the lease at this moment.
        """
        if Lease.objects.select_for_update().filter(token=self.token).first() is None:
            raise LeaseLost(str(self.experiment))

    def _remember(self, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            setattr(self.experiment, name, value)


def _no_gpus(lease: Lease) -> tuple[int, ...]:
    return ()


def claim(
    experiment_id: int,
    owner: str,
    take_gpus: Callable[[Lease], tuple[int, ...]] = _no_gpus,
    gpus_needed: int = 0,
) -> HeldLease | None:
    """Take a pending experiment for this worker, or None when another was first or has to.

    `take_gpus` is called within the transaction: what it raises undoes the claim. Measurements of
    an earlier attempt go: they were taken against another launch.
    """
    now = timezone.now()
    claimable = Experiment.objects.filter(
        pk=experiment_id,
        only_on__in=["", host_of(owner)],
        status__in=legal_statuses(ExperimentEvent.CLAIMED),
        task__status=TaskStatus.RUNNING.value,
        task__cancel_requested_at__isnull=True,
    )
    with transaction.atomic():
        # The row is locked first: of several claims all but one find it claimed.
        if claimable.select_for_update(of=("self",)).first() is None:
            return None
        Experiment.objects.filter(pk=experiment_id).update(
            status=target_of(ExperimentEvent.CLAIMED),
            attempt=F("attempt") + 1,
            started_at=now,
            host=host_of(owner),
            gpus_needed=gpus_needed,
            waiting_since=None,
        )
        experiment = Experiment.objects.select_related("task").get(pk=experiment_id)
        experiment.measurements.all().delete()
        lease = Lease.objects.create(
            experiment=experiment, owner=owner, acquired_at=now, heartbeat_at=now
        )
        gpus = take_gpus(lease)
    return HeldLease(experiment, lease.token, gpus)


class Heartbeat:
    """Renews a lease from a thread of its own for as long as the `with` block runs."""

    def __init__(self, lease: HeldLease, times: LeaseTimes | None = None) -> None:
        self._lease = lease
        self._times = times or lease_times()
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, name=f"heartbeat-{lease.experiment.pk}", daemon=True
        )

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        last_renewed = time.monotonic()
        try:
            while not self._done.wait(self._times.heartbeat_s):
                try:
                    if not self._lease.still_ours():
                        self._lost.set()
                        return
                    last_renewed = time.monotonic()
                except DatabaseError:
                    logger.warning("heartbeat of %s failed", self._lease.experiment, exc_info=True)
                    # A broken connection would fail for ever; the next beat opens a new one.
                    connection.close()
                if time.monotonic() - last_renewed > self._times.give_up_s:
                    self._lost.set()
                    return
        finally:
            connection.close()
