"""Engines as InferenceServices of a real API server keep what every controller promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controllers.base import Controller, Deployment, DeploymentIdentity, DeploymentRequest
from controllers.cluster.settings import ClusterSettings
from controllers.ome import OmeController
from tests.cluster.cluster import Cluster
from tests.controllers.conformance import ControllerConformance, Harness
from tests.controllers.conftest import PORT_RANGE, lines
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.names import EngineName, FlagValue

__all__ = ["lines"]


def ome_controller(cluster: Cluster, namespace: str, runtime_dir: Path) -> OmeController:
    return OmeController(
        ClusterSettings(kubeconfig=str(cluster.kubeconfig)),
        runtime_dir,
        lambda: [namespace],
        PORT_RANGE,
        engines={EngineName.SGLANG: FakeEngineKind()},
    )


@dataclass
class ClusterHarness(Harness):
    cluster: Cluster | None = None
    namespace: str = ""
    runtime_dir: Path = Path()

    @property
    def place(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    def another_controller(self) -> Controller:
        return ome_controller(self.place, self.namespace, self.runtime_dir)

    def request_for(self, identity: DeploymentIdentity, **flags: FlagValue) -> DeploymentRequest:
        return replace(super().request_for(identity, **flags), namespace=self.namespace)

    def running_names(self) -> list[str]:
        """Those that OME was asked for too: between that and a process lies a moment."""
        services = self.place.all("InferenceService", self.namespace)
        asked = {one["metadata"]["name"] for one in services}
        running = {
            pod.document["metadata"]["labels"]["ome.io/inferenceservice"]
            for pod in self.place.running_pods(self.namespace)
        }
        return sorted(asked | running)

    def kill_engine(self, deployment: Deployment) -> None:
        labels = f"ome.io/inferenceservice={deployment.identity.name}"
        (pod,) = self.place.all("Pod", self.namespace, labels)
        for process in self.place.processes_of(pod["metadata"]["uid"]):
            process.kill()


class TestOme(ControllerConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path, cluster: Cluster, namespace: str) -> Iterator[ClusterHarness]:
        harness = ClusterHarness(
            ome_controller(cluster, namespace, tmp_path),
            cluster=cluster,
            namespace=namespace,
            runtime_dir=tmp_path,
        )
        yield harness
        harness.clear()
        assert cluster.left_in(namespace) == []
