"""The controller of clusters where there is none, or none that answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controllers.base import (
    Deployment,
    DeploymentError,
    DeploymentIdentity,
    DeploymentRequest,
    EngineState,
)
from controllers.cluster.settings import ClusterSettings
from controllers.ome import OmeController
from tests.controllers.conftest import PORT_RANGE, Lines
from tests.controllers.test_ome_connection import kubeconfig, nothing_of_this_host
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName

__all__ = ["nothing_of_this_host"]

IDENTITY = DeploymentIdentity("test", 1, 2, 1)


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig whose server nobody is."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield kubeconfig(tmp_path, f"http://127.0.0.1:{reserved.getsockname()[1]}")


def controller(tmp_path: Path, of: Path | None, *namespaces: str) -> OmeController:
    return OmeController(
        ClusterSettings(kubeconfig=None if of is None else str(of)),
        tmp_path,
        lambda: namespaces,
        PORT_RANGE,
        engines={EngineName.SGLANG: FakeEngineKind()},
    )


def request(**flags: int) -> DeploymentRequest:
    return DeploymentRequest(IDENTITY, EngineName.SGLANG, "some-model", "fake", flags)


def test_nothing_is_deployed_where_nobody_answers(tmp_path: Path, nobody: Path) -> None:
    place = controller(tmp_path, nobody, "autotuner")
    failure = place.check(request())
    assert failure is not None
    assert failure.kind is FailureKind.CLUSTER_UNAVAILABLE
    with pytest.raises(DeploymentError) as caught:
        place.deploy(request(), Lines())
    assert caught.value.failure == failure
    with pytest.raises(DeploymentError):
        place.list_deployments("test")
    with pytest.raises(DeploymentError):
        place.delete_orphan(IDENTITY)


def test_a_command_can_be_shown_all_the_same(tmp_path: Path, nobody: Path) -> None:
    command = controller(tmp_path, nobody).command_line(request(slots=3))
    assert command[command.index("--slots") + 1] == "3"
    assert "some-model" in command


def test_what_was_never_used_is_not_asked(tmp_path: Path, nobody: Path) -> None:
    assert controller(tmp_path, nobody).list_deployments("test") == []
    without = controller(tmp_path, None, "autotuner")
    assert without.list_deployments("test") == []
    without.delete_orphan(IDENTITY)


def test_what_this_process_has_not_launched_is_gone(tmp_path: Path, nobody: Path) -> None:
    place = controller(tmp_path, nobody)
    deployment = Deployment(IDENTITY, "http://127.0.0.1:9", ("engine",), namespace="autotuner")
    status = place.status(deployment)
    assert status.state is EngineState.EXITED
    assert place.exit_failure(deployment) == status.failure
    assert place.recent_log(deployment) == []
