"""Claiming an experiment with its cards, and giving both back."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone

from tests.orchestrator.accelerators import FakeHost, ports_on
from tuning.domain.lifecycle import ExperimentEvent
from tuning.models import Task
from tuning.orchestrator.gpus import claim_with_gpus
from tuning.orchestrator.lease import HeldLease

MakeTask = Callable[..., Task]


def claim(experiment_id: int, host: FakeHost) -> HeldLease | None:
    return claim_with_gpus(experiment_id, ports_on(host))


def give_back(lease: HeldLease, *, engine_is_gone: bool = True) -> None:
    lease.end(ExperimentEvent.CANCELLED, engine_is_gone=engine_is_gone, finished_at=timezone.now())
