"""The real Docker engine that tests use, with images made of what this host has.

Without an engine these tests are skipped, unless AUTOTUNER_TESTS_MUST_RUN_DOCKER is set:
`.ci/with-docker make test-docker` brings one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import docker
import pytest
from docker import DockerClient

from controllers.docker_engine import docker_address
from tests.fake_engine.image import IMAGE, LLAMACPP_IMAGE, TAG, write_image, write_llamacpp_image

MUST_RUN = "AUTOTUNER_TESTS_MUST_RUN_DOCKER"


def skip(reason: str) -> NoReturn:
    """Skip a test that needs what is not here, where that may be so."""
    if os.environ.get(MUST_RUN):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerClient]:
    """A real engine with FakeEngine's image on it."""
    address = docker_address()
    if address is None:
        skip("no Docker engine here: neither DOCKER_HOST nor a socket of Docker")
    environment = {**os.environ, "DOCKER_HOST": address}
    with closing(docker.from_env(environment=environment)) as client:
        if not client.images.list(f"{IMAGE}:{TAG}"):
            tar = tmp_path_factory.mktemp("image") / "fake_engine.tar"
            write_image(tar)
            import_image(client, tar, IMAGE, TAG)
        yield client
        for volume in client.volumes.list():
            # The caches of this run's installations; each has this process's number in its name.
            if re.fullmatch(rf"autotuner-[a-z]+{os.getpid()}-cache", volume.name):
                volume.remove(force=True)


@pytest.fixture(scope="session")
def llamacpp_image(client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The real llama.cpp server of this host under the name that the product expects."""
    repository, _, tag = LLAMACPP_IMAGE.rpartition(":")
    if not client.images.list(LLAMACPP_IMAGE):
        tar = tmp_path_factory.mktemp("image") / "llamacpp.tar"
        write_llamacpp_image(tar)
        import_image(client, tar, repository, tag)
    return LLAMACPP_IMAGE


def import_image(client: DockerClient, tar: Path, repository: str, tag: str) -> None:
    client.api.import_image_from_file(str(tar), repository=repository, tag=tag)
    tar.unlink()
