"""Returning what a dead worker left behind: its experiments, its engines, and then its GPUs."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from controllers.base import Controller, DeploymentError, DeploymentIdentity
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentEvent, after_failure, target_of
from tuning.domain.names import DeploymentMode
from tuning.models import Experiment, GpuLease, Lease
from tuning.orchestrator.lease import lease_times, process_is_gone
from tuning.orchestrator.transitions import legal_statuses

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reaped:
    """What a sweep did: experiments taken from dead workers, and engines removed."""

    experiments: tuple[int, ...]
    engines: tuple[str, ...]


def reap(instance: str, controllers: Mapping[DeploymentMode, Controller]) -> Reaped:
    """Return abandoned experiments to the queue (or fail them), then stop orphaned engines.

    A controller whose engines can't be reached keeps none of the others from it.
    """
    experiments = return_abandoned_experiments()
    engines: list[str] = []
    for mode, controller in controllers.items():
        try:
            engines += remove_orphans(instance, mode, controller)
        except DeploymentError as error:
            logger.debug("engines of mode %s can't be reached: %s", mode, error)
        except Exception:
            logger.exception("orphans of mode %s can't be removed", mode)
    return Reaped(experiments=experiments, engines=tuple(engines))


def return_abandoned_experiments() -> tuple[int, ...]:
    """Experiments whose lease ran out or whose owner, a process of this host, is dead."""
    stale = timezone.now() - timedelta(seconds=lease_times().lease_s)
    abandoned = [
        lease
        for lease in Lease.objects.select_related("experiment")
        if lease.heartbeat_at < stale or process_is_gone(lease.owner)
    ]
    return tuple(lease.experiment_id for lease in abandoned if _take_away(lease))


def remove_orphans(instance: str, mode: DeploymentMode, controller: Controller) -> tuple[str, ...]:
    """Stop every engine of this instance that no live lease stands for.

    Then nothing runs any more on the cards that dead workers of this host had, and they are free.
    """
    of_the_dead = GpuLease.objects.filter(
        host=socket.gethostname(), deployment_mode=mode.value, lease=None
    )
    # Noted first: whose worker dies during the look may have an engine that was not looked at.
    their_cards = list(of_the_dead.values_list("pk", flat=True))
    removed = []
    for identity in controller.list_deployments(instance):
        if not _is_leased(identity):
            controller.delete_orphan(identity)
            removed.append(identity.name)
    GpuLease.objects.filter(pk__in=their_cards).delete()
    return tuple(removed)


def _take_away(lease: Lease) -> bool:
    """The lease goes and the experiment moves, or neither. False when its owner was quicker."""
    experiment = lease.experiment
    event = after_failure(FailureKind.LOST_WORKER, experiment.attempt)
    fields: dict[str, object] = {}
    if event is ExperimentEvent.FAILED:
        fields = {
            "failure_kind": FailureKind.LOST_WORKER.value,
            "failure_message": (
                f"The worker {lease.owner} was lost {experiment.attempt} times in this experiment."
            ),
            "finished_at": timezone.now(),
        }
    with transaction.atomic():
        # Locked as it was seen: a heartbeat may have come since.
        unrenewed = Lease.objects.filter(token=lease.token, heartbeat_at=lease.heartbeat_at)
        held = unrenewed.select_for_update().first()
        if held is None:
            return False
        held.delete()
        Experiment.objects.filter(pk=experiment.pk, status__in=legal_statuses(event)).update(
            status=target_of(event), **fields
        )
    logger.warning("%s was abandoned by %s", experiment, lease.owner)
    return True


def _is_leased(identity: DeploymentIdentity) -> bool:
    return Lease.objects.filter(
        experiment_id=identity.experiment_id, experiment__attempt=identity.attempt
    ).exists()
