"""The containers of the docker mode, as a Docker engine tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Container:
    """`task_id` and `experiment_id` come from our labels; `is_ours` tells whether it is this
    installation's. Memory is in MiB, `cpu_percent` of one core; None where it can't be told."""

    name: str
    image: str
    state: str
    status: str
    started_at: datetime | None
    gpus: tuple[str, ...]
    cpu_percent: float | None
    memory_mib: float | None
    is_ours: bool
    task_id: int | None
    experiment_id: int | None


@dataclass(frozen=True)
class Containers:
    """`unavailable` says why nothing is known, for users; empty when an engine answered."""

    engine: str
    unavailable: str
    containers: tuple[Container, ...]


def list_containers() -> Containers:
    """Every container that an autotuner started, ours first."""
    return Containers("", "No Docker engine answers.", ())
