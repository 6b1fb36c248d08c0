"""The containers of the docker mode, as a Docker engine tells of them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from controllers.docker_engine import (
    INSTANCE_LABEL,
    DockerEngine,
    DockerUnavailable,
    EngineContainer,
    Usage,
    docker_address,
)
from tuning.logs import Redactor, known_secrets
from tuning.plain_text import plain_line

MIB = 1 << 20
SHORTEST_INTERVAL_S = 0.5
"""Between two measurements that give a share of the CPU; below it, the last share is told again."""


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
    instance: str = ""
    attempt: int | None = None


@dataclass(frozen=True)
class Containers:
    """`unavailable` says why nothing is known, for users; empty when an engine answered. `hint`
    says what to do about it."""

    engine: str
    unavailable: str
    containers: tuple[Container, ...]
    hint: str = ""


class CpuMeter:
    """Shares of the CPU out of two measurements of the CPU time used so far.

    An engine tells only the sum, so that the first look at a container gives no share.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[Usage, float | None]] = {}

    def percent(self, usages: Mapping[str, Usage]) -> dict[str, float | None]:
        """Percent of one core for each container, since it was measured last."""
        with self._lock:
            self._last = {key: self._next(key, usage) for key, usage in usages.items()}
            return {key: share for key, (_, share) in self._last.items()}

    def _next(self, key: str, usage: Usage) -> tuple[Usage, float | None]:
        if key not in self._last:
            return usage, None
        before, share = self._last[key]
        passed_s = (usage.read_at - before.read_at).total_seconds()
        if passed_s < SHORTEST_INTERVAL_S:
            return before, share
        used_s = (usage.cpu_ns - before.cpu_ns) / 1e9
        # A container that was started anew counts from zero.
        return usage, used_s / passed_s * 100 if used_s >= 0 else None


_meter = CpuMeter()


def list_containers(*, measured: bool = True) -> Containers:
    """Every container that an autotuner started, ours first. Takes 2 s at most without an engine.

    `measured` asks for CPU and memory as well, for which an engine may need a second. The CPU's
    share is that since the last call, so the first one gives none.
    """
    address = docker_address()
    if address is None:
        return Containers(
            "",
            "No Docker engine answers: DOCKER_HOST is not set, and there is no socket of Docker.",
            (),
            "Only the docker mode needs one. Install Docker on this host, or let DOCKER_HOST name "
            "an engine elsewhere, and restart the autotuner.",
        )
    engine = DockerEngine(address)
    try:
        found, version = engine.containers(), engine.version()
        usages = engine.usage(_running(found)) if measured else {}
    except DockerUnavailable as error:
        why = f"No Docker engine answers at {address}: {str(error).rstrip('.')}."
        return Containers(address, why, (), error.hint)
    shares = _meter.percent(usages) if measured else {}
    containers = [_container(one, usages.get(one.id), shares.get(one.id)) for one in found]
    containers.sort(key=lambda one: not one.is_ours)
    return Containers(f"Docker {version} at {address}", "", tuple(containers))


def find_container(name: str) -> Container:
    """Raises DockerUnavailable, or NoSuchContainer."""
    return _container(_engine().container(name), None, None)


def container_log(name: str) -> list[str]:
    """Its last lines as plain text, secrets replaced. Raises as `find_container` does."""
    redact = Redactor(known_secrets())
    return [redact(plain_line(line)) for line in _engine().log(name)]


def stop_container(name: str) -> None:
    """Stop one of ours politely, then by force, and remove it: 10 s at most.

    Raises as `find_container` does, and ForeignContainer.
    """
    _engine().stop(name, settings.AUTOTUNER_INSTANCE)


def _engine() -> DockerEngine:
    address = docker_address()
    if address is None:
        raise DockerUnavailable("there is no Docker engine", "Set DOCKER_HOST.")
    return DockerEngine(address)


def _running(found: Collection[EngineContainer]) -> list[str]:
    return [one.id for one in found if one.state == "running"]


def _container(found: EngineContainer, usage: Usage | None, share: float | None) -> Container:
    bytes_used = usage.memory_bytes if usage is not None else None
    instance = found.labels[INSTANCE_LABEL]
    return Container(
        name=found.name,
        image=found.image,
        state=found.state,
        status=found.status,
        started_at=found.started_at,
        gpus=found.gpus,
        cpu_percent=share,
        memory_mib=None if bytes_used is None else bytes_used / MIB,
        is_ours=instance == settings.AUTOTUNER_INSTANCE,
        task_id=_number(found.labels, "autotuner/task"),
        experiment_id=_number(found.labels, "autotuner/experiment"),
        instance=instance,
        attempt=_number(found.labels, "autotuner/attempt"),
    )


def _number(labels: Mapping[str, str], label: str) -> int | None:
    """None for a label that is missing or was written by somebody else."""
    text = labels.get(label, "")
    return int(text) if text.isascii() and text.isdigit() else None
