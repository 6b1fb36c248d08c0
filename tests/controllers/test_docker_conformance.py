"""Engines in containers of a real Docker engine keep what every controller promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker import DockerClient

from controllers.base import Controller, Deployment
from controllers.docker import DockerController
from tests.controllers.conformance import ControllerConformance, Harness
from tests.controllers.conftest import INSTANCE, PORT_RANGE
from tests.docker.engine import client
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.names import EngineName

__all__ = ["client"]


def docker_controller(runtime_dir: Path) -> DockerController:
    models = runtime_dir / "models"
    (models / "fake-model").mkdir(parents=True, exist_ok=True)
    engines = {EngineName.SGLANG: FakeEngineKind()}
    return DockerController(runtime_dir, models, INSTANCE, PORT_RANGE, engines, polite_s=1)


@dataclass
class DockerHarness(Harness):
    runtime_dir: Path = Path()
    client: DockerClient | None = None

    def another_controller(self) -> Controller:
        return docker_controller(self.runtime_dir)

    def running_names(self) -> list[str]:
        assert self.client is not None
        ours = {identity.name for identity in self.deployed}
        return sorted(one.name for one in self.client.containers.list() if one.name in ours)

    def kill_engine(self, deployment: Deployment) -> None:
        assert self.client is not None
        self.client.containers.get(deployment.identity.name).kill()


class TestDocker(ControllerConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path, client: DockerClient) -> Iterator[DockerHarness]:
        harness = DockerHarness(docker_controller(tmp_path), runtime_dir=tmp_path, client=client)
        yield harness
        harness.clear()
