"""The controller of each deployment mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from controllers.base import Controller
from controllers.docker import DockerController
from controllers.local import LocalController
from controllers.registry import ControllerSettings, DeploymentModeUnavailable, controller_for
from tuning.domain.names import DeploymentMode


def test_the_registry_knows_two_modes_and_says_what_is_missing(tmp_path: Path) -> None:
    settings = ControllerSettings(tmp_path, tmp_path, "test")
    local: Controller = controller_for(DeploymentMode.LOCAL, settings)
    docker: Controller = controller_for(DeploymentMode.DOCKER, settings)

    assert isinstance(local, LocalController)
    assert isinstance(docker, DockerController)
    with pytest.raises(DeploymentModeUnavailable, match="ome"):
        controller_for(DeploymentMode.OME, settings)
