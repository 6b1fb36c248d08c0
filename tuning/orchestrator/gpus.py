"""Which GPUs of this host an experiment gets, and who is next where there are too few.

An experiment is claimed together with all its cards, or not at all: then it stays PENDING and
remembers since when it waits. Whoever takes more cards goes first, and smaller ones fill the gaps.
Small gaps would never grow into large ones that way, so younger ones overtake nobody who has waited
long: then cards are left free until there are enough. Those that have waited long are served in
cohorts, the largest first within each: strictly one after another, a fifth of the cards would be
idle, because each large one between small ones would have to wait for the whole host to be empty.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import IntegrityError
from django.db.models import Max, QuerySet
from django.utils import timezone

from controllers.base import HostCards
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.domain.names import DeploymentMode, LogSource
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, GpuLease, Lease, WorkerHeartbeat
from tuning.orchestrator.card_sizes import suited_cards
from tuning.orchestrator.lease import HeldLease, claim, host_of, lease_times, process_is_gone
from tuning.orchestrator.ports import Accelerators, Ports
from tuning.turns import take_turn

NOT_OVERTAKEN_AFTER = timedelta(minutes=10)
COHORT_S = 3600.0
"""Those who began to wait within the same hour may overtake one another."""
EMPTYING_S = 5.0
"""How long the memory of a card may take to be given back after its engine's end."""
EMPTYING_TICK_S = 0.1


class NoRoom(Exception):
    """Too few cards are free, or they are kept for somebody else."""


@dataclass(frozen=True)
class Demand:
    """What an experiment takes of this host: `gpus` cards or, when it takes none, a seat.

    As many experiments of its task as there are `seats` may share the host without cards. Only
    the cards `suited` are large enough for it; None stands for any.
    """

    experiment: Experiment
    mode: DeploymentMode
    cards: HostCards
    gpus: int
    seats: int
    suited: frozenset[int] | None = None


def claim_with_gpus(experiment_id: int, ports: Ports) -> HeldLease | None:
    """Claim an experiment with the cards it takes, or None: claimed by another, or it waits.

    One that takes more cards than any host has is claimed without any, so that it can fail.
    """
    experiment = Experiment.objects.select_related("task").filter(pk=experiment_id).first()
    if experiment is None or experiment.only_on not in ("", host_of(ports.owner)):
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
    is_local = spec.deployment_mode is DeploymentMode.LOCAL
    if is_local and (not cards.present or cards.only_for_containers):
        # vLLM and SGLang run on a CPU too, each as many processes as the flags say.
        gpus = 0
    elif gpus and accelerators.can_do_without(spec) and most_gpus(experiment, cards) == 0:
        gpus = 0
    return Demand(
        experiment,
        spec.deployment_mode,
        cards,
        gpus,
        seats=spec.optimization.max_parallel or 1,
        suited=_suited(experiment, spec, cards, gpus, accelerators) if gpus else None,
    )


def _suited(
    experiment: Experiment, spec: TaskSpec, cards: HostCards, gpus: int, accelerators: Accelerators
) -> frozenset[int] | None:
    elsewhere = {} if experiment.task.driver else sizes_on_workers()
    elsewhere.pop(cards.host, None)
    fits = partial(accelerators.fits, spec, experiment.parameters)
    return suited_cards(cards, gpus, fits, elsewhere.values())


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


def live_hosts() -> set[str]:
    """Those that have a live worker."""
    return set(_live_workers().values_list("host", flat=True))


def sizes_on_workers() -> dict[str, list[float]]:
    """MiB of each card of each host that has a live worker, as far as the cards tell."""
    return dict(_live_workers().values_list("host", "cards_mib"))


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
    """Waiting experiments of a driver (or of the workers) that would get their cards now.

    Those to go first first. All that wait for a seat are among them.
    """
    return _served(_line(cards), len(_free(cards)), driver)


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
    # Two claims on one host count one after another. What is held is read after that.
    take_turn("cards", host)
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
    fit = [card for card in free if demand.suited is None or card in demand.suited]
    if len(fit) < wanted:
        raise NoRoom(f"waits for {wanted} GPUs that are large enough; {len(fit)} are free.")
    own = demand.experiment
    since = own.waiting_since or timezone.now()
    others = [one for one in _line(demand.cards) if one.experiment_id != own.pk]
    line = [*others, _Waiting(own.pk, own.task.driver, wanted, since)]
    if own.pk not in _served(line, len(free), own.task.driver):
        raise NoRoom(f"waits for {wanted} GPUs behind another experiment.")
    return fit[:wanted]


def _seat_for(demand: Demand) -> int:
    """Counted down from -1. All seats of a host are held by one task at a time."""
    held = GpuLease.objects.filter(host=demand.cards.host, index__lt=0)
    holders = dict(held.values_list("index", "lease__experiment__task"))
    own = demand.experiment
    if len(holders) >= demand.seats or any(task != own.task_id for task in holders.values()):
        raise NoRoom("waits until what is measured on this host is done.")
    since = own.waiting_since or timezone.now()
    for one in _line(demand.cards):
        is_heard = one.driver == own.task.driver or one.has_waited_long
        if one.gpus_needed == 0 and one.since < since and is_heard:
            raise NoRoom("waits behind another experiment.")
    return next(-number for number in range(1, demand.seats + 1) if -number not in holders)


class _Waiting(NamedTuple):
    """One place in the line before a host's cards."""

    experiment_id: int
    driver: str
    gpus_needed: int
    since: datetime

    @property
    def has_waited_long(self) -> bool:
        return self.since < timezone.now() - NOT_OVERTAKEN_AFTER

    def place(self) -> tuple[float, int, datetime, int]:
        """Those that have waited long by cohorts, then all the others; largest first in each."""
        cohort = self.since.timestamp() // COHORT_S if self.has_waited_long else math.inf
        return (cohort, -self.gpus_needed, self.since, self.experiment_id)


def _served(line: Iterable[_Waiting], free: int, driver: str) -> list[int]:
    """Who of a driver gets cards when so many are free, in the order of their places.

    Whoever claims for one experiment of a driver can run any other of it just as well, so that one
    that fits is left its cards. Of another driver nobody knows when it looks again: it is waited
    for only once it has waited long.
    """
    served = []
    for one in sorted(line, key=_Waiting.place):
        if one.driver != driver and not one.has_waited_long:
            continue
        if one.gpus_needed <= free:
            free -= one.gpus_needed
            if one.driver == driver:
                served.append(one.experiment_id)
        elif one.has_waited_long:
            # What is free is kept for it; only those that take no cards may go on.
            free = 0
    return served


def _free(cards: HostCards) -> list[int]:
    """Cards that nobody was given and on which nothing lies.

    What lies on a card of nobody's is somebody else's: it is left alone.
    """
    held = set(GpuLease.objects.filter(host=cards.host).values_list("index", flat=True))
    return [card for card in cards.present if card not in held and card not in cards.in_use]


def _line(cards: HostCards) -> list[_Waiting]:
    """Who waits and could run on this host: who waits in vain keeps nobody back."""
    waiting = Experiment.objects.filter(
        status=ExperimentStatus.PENDING.value,
        waiting_since__isnull=False,
        only_on__in=["", cards.host],
        gpus_needed__lte=len(cards.present),
        task__status=TaskStatus.RUNNING.value,
        task__cancel_requested_at__isnull=True,
    )
    rows = waiting.values_list("pk", "task__driver", "gpus_needed", "waiting_since")
    line = [
        _Waiting(pk, driver, gpus, since) for pk, driver, gpus, since in rows if since is not None
    ]
    heard = {driver: _looks(driver, cards.host) for driver in {one.driver for one in line}}
    return [one for one in line if heard[one.driver]]


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
