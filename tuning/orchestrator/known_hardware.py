"""What is recorded of the hardware that tasks ran on, or will run on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from tuning.domain.names import DeploymentMode
from tuning.domain.similarity import Hardware
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Task, WorkerHeartbeat
from tuning.orchestrator.gpus import live_hosts
from tuning.orchestrator.lease import host_of


class KnownHardware:
    """Reads each host once. Hosts tell of themselves through their workers and in the environment
    of the last experiment that ran there."""

    def __init__(self) -> None:
        self._of_host = cache(_read_host)

    def of_the_future(self, task: Task, spec: TaskSpec) -> Hardware:
        """Where a task that starts now will run."""
        hosts = {host_of(task.driver)} if task.driver else live_hosts()
        return self._of(spec, hosts)

    def of_the_past(self, spec: TaskSpec, hosts: Iterable[str]) -> Hardware:
        """Where a task ran, with the hosts of its experiments."""
        return self._of(spec, {host for host in hosts if host})

    def _of(self, spec: TaskSpec, hosts: Collection[str]) -> Hardware:
        if spec.deployment_mode is DeploymentMode.OME:
            return Hardware(frozenset({spec.model.namespace}), in_cluster=True)
        known = [self._of_host(host) for host in sorted(hosts)]
        return Hardware(
            frozenset(hosts),
            has_cards=_any(one.has_cards for one in known),
            card_mib=_largest(one.card_mib for one in known),
            cpu_count=_largest(one.cpu_count for one in known),
            memory_mib=_largest(one.memory_mib for one in known),
        )


def _read_host(host: str) -> Hardware:
    workers = list(WorkerHeartbeat.objects.filter(host=host).values_list("gpus", "cards_mib"))
    environments = Experiment.objects.filter(host=host).exclude(environment={}).order_by("-pk")
    environment = environments.values_list("environment", flat=True).first() or {}
    cards = environment.get("gpus")
    return Hardware(
        frozenset({host}),
        has_cards=_any(
            [*(gpus > 0 for gpus, _ in workers), bool(cards) if isinstance(cards, list) else None]
        ),
        card_mib=max((mib for _, sizes in workers for mib in sizes), default=None),
        cpu_count=_count(environment, "cpu_count"),
        memory_mib=_count(environment, "memory_mib"),
    )


def _count(environment: Mapping[str, Any], name: str) -> int | None:
    value = environment.get(name)
    return value if isinstance(value, int) and value > 0 else None


def _any(answers: Iterable[bool | None]) -> bool | None:
    """None when nobody knows."""
    known = [answer for answer in answers if answer is not None]
    return any(known) if known else None


def _largest(amounts: Iterable[int | float | None]) -> Any:
    return max((amount for amount in amounts if amount is not None), default=None)
