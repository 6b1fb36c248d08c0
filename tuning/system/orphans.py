"""Engines that run for nobody. Only looked at here; the sweep removes them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from controllers.base import DeploymentIdentity
from controllers.registry import DeploymentModeUnavailable
from tuning.composition import build_controller
from tuning.domain.names import DeploymentMode
from tuning.models import Lease
from tuning.orchestrator.lease import lease_times

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Orphan:
    """An engine of this instance that no live lease stands for."""

    name: str
    mode: str
    task_id: int
    experiment_id: int
    attempt: int


@dataclass(frozen=True)
class FoundOrphans:
    """`unseen` maps the deployment modes whose engines could not be listed to the reason."""

    engines: tuple[Orphan, ...]
    unseen: Mapping[str, str]


def find_orphans(instance: str) -> FoundOrphans:
    """Orphans in every deployment mode of this host.

    An engine is launched after its lease was taken and gone before it is given back. So one that
    has no lease before the look nor after it is not just being launched or stopped.
    """
    leased_before = _leased()
    listed, unseen = _list_engines(instance)
    leased = leased_before | _leased()
    engines = tuple(
        Orphan(engine.name, mode.value, engine.task_id, engine.experiment_id, engine.attempt)
        for mode, engine in listed
        if (engine.experiment_id, engine.attempt) not in leased
    )
    return FoundOrphans(engines, unseen)


def _leased() -> set[tuple[int, int]]:
    """Experiment and attempt of every lease that has not run out."""
    oldest = timezone.now() - timedelta(seconds=lease_times().lease_s)
    live = Lease.objects.filter(heartbeat_at__gt=oldest)
    return set(live.values_list("experiment_id", "experiment__attempt"))


def _list_engines(
    instance: str,
) -> tuple[list[tuple[DeploymentMode, DeploymentIdentity]], dict[str, str]]:
    listed: list[tuple[DeploymentMode, DeploymentIdentity]] = []
    unseen: dict[str, str] = {}
    for mode in DeploymentMode:
        try:
            found = build_controller(mode).list_deployments(instance)
        except DeploymentModeUnavailable:
            continue
        except Exception as error:
            # A cluster or a Docker engine that is away must not take the whole page with it.
            logger.warning("engines of mode %s can't be listed", mode, exc_info=True)
            unseen[mode.value] = str(error) or type(error).__name__
            continue
        listed += [(mode, engine) for engine in found]
    return listed, unseen
