"""Deployments in the test cluster as the orchestrator makes them, and what becomes of them."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controllers.base import (
    Deployment,
    DeploymentError,
    DeploymentIdentity,
    DeploymentRequest,
    EngineState,
    EngineStatus,
)
from controllers.cluster.settings import ClusterSettings
from controllers.ome import OmeController
from tests.cluster.cluster import Cluster
from tests.cluster.objects import MODEL, SERVED_MODEL_NAME
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_for
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.failures import Failure
from tuning.domain.names import EngineName, FlagValue

TOLD_WITHIN_S = 10.0
"""From the moment at which the cluster knows of it."""

_numbers = itertools.count(1_000)


@dataclass
class Place:
    """One namespace of the cluster, and controllers that deploy there."""

    cluster: Cluster
    namespace: str
    runtime_dir: Path
    lines: Lines = field(default_factory=Lines)
    deployed: list[tuple[OmeController, DeploymentIdentity]] = field(default_factory=list)

    def controller(self, kubeconfig: Path | None = None, **settings: Any) -> OmeController:
        """Of the administrator, unless another's kubeconfig is given."""
        return OmeController(
            ClusterSettings(kubeconfig=str(kubeconfig or self.cluster.kubeconfig), **settings),
            self.runtime_dir,
            lambda: [self.namespace],
            PORT_RANGE,
            engines={EngineName.SGLANG: FakeEngineKind()},
        )

    def request(self, **flags: FlagValue) -> DeploymentRequest:
        return DeploymentRequest(
            identity=DeploymentIdentity(INSTANCE, 8, next(_numbers), 1),
            engine=EngineName.SGLANG,
            model=MODEL,
            served_model_name=SERVED_MODEL_NAME,
            parameters={name.replace("_", "-"): value for name, value in flags.items()},
            namespace=self.namespace,
        )

    def deploy(
        self, controller: OmeController, request: DeploymentRequest | None = None
    ) -> Deployment:
        request = request or self.request()
        self.deployed.append((controller, request.identity))
        return controller.deploy(request, self.lines)

    def clear(self) -> None:
        administrator = self.controller()
        for controller, identity in self.deployed:
            administrator.delete_orphan(identity)
            with contextlib.suppress(DeploymentError):
                controller.delete_orphan(identity)


@pytest.fixture
def place(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Place]:
    """Whatever a test does, nothing of its deployments is left: no object, process or thread."""
    place = Place(cluster, namespace, tmp_path)
    yield place
    place.clear()
    assert [one for one in cluster.left_in(namespace) if "autotuner-" in one] == []
    assert cluster.pod_processes(namespace) == []
    wait_for(lambda: following() == [])


def following() -> list[str]:
    """Threads that still follow something of the cluster."""
    names = (one.name for one in threading.enumerate())
    return [name for name in names if name.startswith(("watch ", "log ", "port-forward"))]


def failure_of(controller: OmeController, deployment: Deployment) -> Failure:
    """Why it is gone, as the orchestrator would find out."""
    wait_for(lambda: controller.status(deployment).state is EngineState.EXITED, TOLD_WITHIN_S)
    failure = controller.status(deployment).failure
    assert failure is not None
    assert failure == controller.exit_failure(deployment)
    assert "\n" not in failure.message
    return failure


def status_when(
    controller: OmeController, deployment: Deployment, state: EngineState
) -> EngineStatus:
    """The first status in this state."""
    seen: list[EngineStatus] = []

    def there() -> bool:
        seen.append(controller.status(deployment))
        assert seen[-1].failure is None or state is EngineState.EXITED, seen[-1].failure
        return seen[-1].state is state

    wait_for(there)
    return seen[-1]


def ready(controller: OmeController, deployment: Deployment) -> Deployment:
    """The deployment as it is known once it is ready."""
    known = status_when(controller, deployment, EngineState.READY).deployment
    assert known is not None
    return known


def refusal_of(act: Callable[[], object]) -> Failure:
    with pytest.raises(DeploymentError) as caught:
        act()
    return caught.value.failure
