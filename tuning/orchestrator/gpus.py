"""Which GPUs of this host an experiment gets, and who is next where there are too few.

An experiment is claimed together with all its cards, or not at all: then it stays PENDING and
remembers since when it waits. Whoever takes more cards goes first, and smaller ones fill the gaps;
but nobody who waits for long is overtaken any more: then cards are left free until there are
enough for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import IntegrityError
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from controllers.base import HostCards
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.domain.names import DeploymentMode, LogSource
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, GpuLease, Lease, WorkerHeartbeat
from tuning.orchestrator.lease import HeldLease, claim, host_of, lease_times, process_is_gone
from tuning.orchestrator.ports import Accelerators, Ports

NOT_OVERTAKEN_AFTER = timedelta(minutes=10)
EMPTYING_S = 5.0
"""How long the memory of a card may take to be given back after its engine's end."""
EMPTYING_TICK_S = 0.1


class NoRoom(Exception):
    """Too few cards are free, or they are kept for somebody else."""


@dataclass(frozen=True)
class Demand:
    """What an experiment takes of this host: `gpus` cards or, when it takes none, a seat.

    As many experiments of its task as there are `seats` may share the host without cards.
    """

    experiment: Experiment
    mode: DeploymentMode
    cards: HostCards
    gpus: int
    seats: int


def claim_with_gpus(experiment_id: int, ports: Ports) -> HeldLease | None:
    """Claim an experiment with the cards it takes, or None: claimed by another, or it waits.

    One that takes more cards than any host has is claimed without any, so that it can fail.
    """
    experiment = Experiment.objects.select_related("task").filter(pk=experiment_id).first()
    if experiment is None:
        return None
    spec = experiment.task.parsed_spec()
    if spec.deployment_mode is DeploymentMode.OME:
        # The cluster hands out its own cards.
        return claim(experiment_id, ports.owner)
    demand = demand_of(experiment, spec, ports.accelerators)
    if demand.gpus > most_gpus(experiment, demand.cards):
        return claim(experiment_id, ports.owner, gpus_needed=demand.gpus)
    try:
        return claim(experiment_id, ports.owner, partial(_take, demand), demand.gpus)
    except NoRoom as refusal:
        if _begins_to_wait(demand):
            ports.log(LogSource.ORCHESTRATOR, f"Experiment {experiment.number}: {refusal}")
        return None


def demand_of(experiment: Experiment, spec: TaskSpec, accelerators: Accelerators) -> Demand:
    cards = accelerators.cards()
    gpus = accelerators.needed(spec, experiment.parameters)
    if spec.deployment_mode is DeploymentMode.LOCAL and not cards.present:
        # vLLM and SGLang run on a CPU too, each as many processes as the flags say.
        gpus = 0
    seats = spec.optimization.max_parallel or 1
    return Demand(experiment, spec.deployment_mode, cards, gpus, seats)


def no_such_cards(experiment: Experiment, cards: HostCards) -> Failure:
    """Why an experiment that was claimed without its cards fails."""
    needed, most = experiment.gpus_needed, most_gpus(experiment, cards)
    wanted = f"The configuration takes {needed} GPU{'s' if needed > 1 else ''}"
    if most == 0:
        return Failure(FailureKind.ACCELERATOR_MISSING, f"{wanted}, and there are none here.")
    return Failure(FailureKind.TOO_FEW_GPUS, f"{wanted}; no host here has more than {most}.")


def most_gpus(experiment: Experiment, cards: HostCards) -> int:
    """The most cards on any host that may run it; a task with a driver runs on its host alone."""
    elsewhere = [] if experiment.task.driver else gpus_of_workers().values()
    return max([len(cards.present), *elsewhere])


def gpus_of_workers() -> dict[str, int]:
    """Cards of each host that has a live worker."""
    by_host = _live_workers().values_list("host").annotate(Max("gpus"))
    return dict(by_host.order_by("host"))


def fitting(spec: TaskSpec, accelerators: Accelerators, cards_of_hosts: Iterable[int]) -> int:
    """How many experiments of a task run side by side on hosts with so many cards each.

    Judged by the baseline configuration. One at a time where engines take no cards.
    """
    if spec.deployment_mode is DeploymentMode.OME:
        return 1
    needed = accelerators.needed(spec, spec.space().baseline())
    return max(1, sum(cards // needed for cards in cards_of_hosts)) if needed else 1


def fitting_here(accelerators: Accelerators) -> Callable[[TaskSpec], int]:
    """As `advance` wants it, for a task that this process drives."""
    return lambda spec: fitting(spec, accelerators, [len(accelerators.cards().present)])


def fitting_on_workers(accelerators: Accelerators) -> Callable[[TaskSpec], int]:
    """As `advance` wants it, for the tasks of the workers."""
    return lambda spec: fitting(spec, accelerators, gpus_of_workers().values())


def next_in_line(cards: HostCards, driver: str = "") -> list[int]:
    """Waiting experiments of a driver (or of the workers) that fit now, those to go first first."""
    free = len(_free(cards))
    rows = _waiting_here(cards).values_list("pk", "task__driver", "gpus_needed", "waiting_since")
    fit: list[int] = []
    for one in sorted((_Waiting(*row) for row in rows), key=_Waiting.place_in_line):
        if one.driver != driver and not one.has_waited_long:
            continue
        if one.gpus_needed <= free:
            free -= one.gpus_needed
            if one.driver == driver:
                fit.append(one.experiment_id)
        elif one.has_waited_long:
            # What is free is kept for it; only those without cards may go on.
            free = 0
    return fit


class _Waiting(NamedTuple):
    experiment_id: int
    driver: str
    gpus_needed: int
    since: datetime

    @property
    def has_waited_long(self) -> bool:
        return _has_waited_long(self.since)

    def place_in_line(self) -> tuple[int, int, datetime]:
        """Who has waited long by time; then those that take most, by time among equals."""
        most_first = 0 if self.has_waited_long else -self.gpus_needed
        return (not self.has_waited_long, most_first, self.since)


def await_empty(gpus: Collection[int], accelerators: Accelerators) -> None:
    """Wait until nothing is left on cards whose engine is gone: `EMPTYING_S` at most."""
    deadline = time.monotonic() + EMPTYING_S
    while gpus and time.monotonic() < deadline:
        if accelerators.cards().in_use.isdisjoint(gpus):
            return
        time.sleep(EMPTYING_TICK_S)


def _take(demand: Demand, lease: Lease) -> tuple[int, ...]:
    """Give the holder of `lease` what it demands, within the transaction that made the lease.

    Raises:
        NoRoom: with a sentence for the task's log.
    """
    host = demand.cards.host
    # Two claims on one host count one after another. What is held is read anew after the lock.
    list(GpuLease.objects.select_for_update().filter(host=host).order_by("index"))
    indices = _cards_for(demand) if demand.gpus else [_seat_for(demand)]
    try:
        GpuLease.objects.bulk_create(
            GpuLease(host=host, index=index, deployment_mode=demand.mode.value, lease=lease)
            for index in indices
        )
    except IntegrityError as error:
        raise NoRoom("waits: another experiment was quicker.") from error
    return tuple(indices) if demand.gpus else ()


def _cards_for(demand: Demand) -> list[int]:
    free = _free(demand.cards)
    wanted, present = demand.gpus, len(demand.cards.present)
    if len(free) < wanted:
        raise NoRoom(f"waits for {wanted} GPUs; {len(free)} of {present} are free.")
    larger = Q(gpus_needed__gt=wanted, gpus_needed__lte=len(free))
    if _gives_way(demand, _waiting_here(demand.cards).filter(gpus_needed__gte=1), larger):
        raise NoRoom(f"waits for {wanted} GPUs behind another experiment.")
    return free[:wanted]


def _seat_for(demand: Demand) -> int:
    """Counted down from -1. All seats of a host are held by one task at a time."""
    held = GpuLease.objects.filter(host=demand.cards.host, index__lt=0)
    holders = dict(held.values_list("index", "lease__experiment__task"))
    own_task = demand.experiment.task_id
    if len(holders) >= demand.seats or any(task != own_task for task in holders.values()):
        raise NoRoom("waits until what is measured on this host is done.")
    earlier = Q(waiting_since__lt=demand.experiment.waiting_since or timezone.now())
    if _gives_way(demand, _waiting_here(demand.cards).filter(gpus_needed=0), earlier):
        raise NoRoom("waits behind another experiment.")
    return next(-number for number in range(1, demand.seats + 1) if -number not in holders)


def _gives_way(demand: Demand, waiting: QuerySet[Experiment], goes_first: Q) -> bool:
    """Whether one of the others `waiting` is to be served before.

    `goes_first` tells those of the same driver that are: whoever claims for one of them can run
    any other of them just as well. Of another driver nobody knows when it looks again.
    """
    own = demand.experiment
    others = waiting.exclude(pk=own.pk)
    since = own.waiting_since or timezone.now()
    long_ago = timezone.now() - NOT_OVERTAKEN_AFTER
    if others.filter(waiting_since__lt=min(since, long_ago)).exists():
        return True
    if _has_waited_long(own.waiting_since):
        return False
    return others.filter(goes_first, task__driver=own.task.driver).exists()


def _has_waited_long(since: datetime | None) -> bool:
    return since is not None and since < timezone.now() - NOT_OVERTAKEN_AFTER


def _free(cards: HostCards) -> list[int]:
    """Cards that nobody was given and on which nothing lies.

    What lies on a card of nobody's is somebody else's: it is left alone.
    """
    held = set(GpuLease.objects.filter(host=cards.host).values_list("index", flat=True))
    return [card for card in cards.present if card not in held and card not in cards.in_use]


def _waiting_here(cards: HostCards) -> QuerySet[Experiment]:
    """Experiments that wait and could run on this host: who waits in vain keeps nobody back."""
    waiting = Experiment.objects.filter(
        status=ExperimentStatus.PENDING.value,
        waiting_since__isnull=False,
        gpus_needed__lte=len(cards.present),
        task__status=TaskStatus.RUNNING.value,
        task__cancel_requested_at__isnull=True,
    )
    drivers = set(waiting.values_list("task__driver", flat=True).order_by().distinct())
    return waiting.filter(task__driver__in=[one for one in drivers if _looks(one, cards.host)])


def _looks(driver: str, host: str) -> bool:
    """Whether somebody is alive on the host who would run what the driver's tasks have waiting."""
    if not driver:
        return _live_workers().filter(host=host).exists()
    return host_of(driver) == host and not process_is_gone(driver)


def _live_workers() -> QuerySet[WorkerHeartbeat]:
    oldest = timezone.now() - timedelta(seconds=lease_times().lease_s)
    return WorkerHeartbeat.objects.filter(heartbeat_at__gt=oldest)


def _begins_to_wait(demand: Demand) -> bool:
    """Remember what it waits for. False when it has waited before, or waits no more."""
    pending = Experiment.objects.filter(
        pk=demand.experiment.pk, status=ExperimentStatus.PENDING.value
    )
    pending.exclude(gpus_needed=demand.gpus).update(gpus_needed=demand.gpus)
    return bool(pending.filter(waiting_since=None).update(waiting_since=timezone.now()))
