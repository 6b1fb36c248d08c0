"""Returning what a dead worker left behind, and removing engines nobody holds a lease for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from controllers.base import Controller, DeploymentIdentity
from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentEvent, after_failure, target_of
from tuning.models import Experiment, Lease
from tuning.orchestrator.lease import lease_times, process_is_gone
from tuning.orchestrator.transitions import legal_statuses

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reaped:
    """What a sweep did: experiments taken from dead workers, and engines removed."""

    experiments: tuple[int, ...]
    engines: tuple[str, ...]


def reap(instance: str, controller: Controller) -> Reaped:
    """Return abandoned experiments to the queue (or fail them), then stop orphaned engines."""
    experiments = return_abandoned_experiments()
    return Reaped(experiments=experiments, engines=remove_orphans(instance, controller))


def return_abandoned_experiments() -> tuple[int, ...]:
    """Experiments whose lease ran out or whose owner, a process of this host, is dead."""
    stale = timezone.now() - timedelta(seconds=lease_times().lease_s)
    abandoned = [
        lease
        for lease in Lease.objects.select_related("experiment")
        if lease.heartbeat_at < stale or process_is_gone(lease.owner)
    ]
    return tuple(lease.experiment_id for lease in abandoned if _take_away(lease))


def remove_orphans(instance: str, controller: Controller) -> tuple[str, ...]:
    """Stop every engine of this instance that no live lease stands for."""
    removed = []
    for identity in controller.list_deployments(instance):
        if not _is_leased(identity):
            controller.delete_orphan(identity)
            removed.append(identity.name)
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
        taken, _ = Lease.objects.filter(token=lease.token, heartbeat_at=lease.heartbeat_at).delete()
        if not taken:
            return False
        Experiment.objects.filter(pk=experiment.pk, status__in=legal_statuses(event)).update(
            status=target_of(event), **fields
        )
    logger.warning("%s was abandoned by %s", experiment, lease.owner)
    return True


def _is_leased(identity: DeploymentIdentity) -> bool:
    return Lease.objects.filter(
        experiment_id=identity.experiment_id, experiment__attempt=identity.attempt
    ).exists()
