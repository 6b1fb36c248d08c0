"""Which controller runs engines in which deployment mode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controllers.base import Controller
from controllers.engines.catalogue import engines
from controllers.local import LocalController
from controllers.ports import DEFAULT_RANGE
from tuning.domain.names import DeploymentMode


class DeploymentModeUnavailable(Exception):
    """This installation can't run engines in the mode asked for; the message is one for users."""


@dataclass(frozen=True)
class ControllerSettings:
    """What controllers need to know of this installation.

    `runtime_dir` holds records of running engines and locks of ports; all autotuners of one user
    should share it. `models_dir` is where relative model paths begin. `port_range` is its first
    and its last port.
    """

    runtime_dir: Path
    models_dir: Path
    port_range: tuple[int, int] = DEFAULT_RANGE
    llama_server_binary: str | None = None


def controller_for(mode: DeploymentMode, settings: ControllerSettings) -> Controller:
    """A new controller for `mode`.

    Raises:
        DeploymentModeUnavailable: there is none yet.
    """
    if mode is DeploymentMode.LOCAL:
        return LocalController(
            settings.runtime_dir,
            settings.models_dir,
            port_range=settings.port_range,
            engines=engines(settings.llama_server_binary),
        )
    raise DeploymentModeUnavailable(
        f"deployment_mode {mode.value!r} is not available in this version; use 'local'."
    )
