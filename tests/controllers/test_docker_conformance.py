"""Engines in containers of a real Docker engine keep what every controller promises."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker import DockerClient

from controllers.base import Controller, Deployment
from controllers.docker import DockerController
from controllers.docker_engine import docker_address
from tests.controllers.conformance import ControllerConformance, Harness
from tests.controllers.conftest import INSTANCE, PORT_RANGE
from tests.fake_engine.engine import FakeEngineKind
from tests.fake_engine.image import IMAGE, TAG, write_image
from tuning.domain.names import EngineName

MUST_RUN = "AUTOTUNER_TESTS_MUST_RUN_DOCKER"


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> DockerClient:
    """A real engine with FakeEngine's image on it."""
    if docker_address() is None:
        message = "no Docker engine answers here"
        if os.environ.get(MUST_RUN):
            pytest.fail(message)
        pytest.skip(message)
    client = docker.from_env(environment={**os.environ, "DOCKER_HOST": docker_address()})
    if not client.images.list(f"{IMAGE}:{TAG}"):
        tar = tmp_path_factory.mktemp("image") / "fake_engine.tar"
        write_image(tar)
        client.api.import_image_from_file(str(tar), repository=IMAGE, tag=TAG)
    return client


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
