"""Which controller runs engines in which deployment mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from controllers.base import Controller
from controllers.cluster.settings import ClusterSettings, is_configured
from controllers.container_plan import ContainerLimits
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
    should share it. `models_dir` is where relative model paths begin. `instance` tells this
    installation's engines from another's. `port_range` is its first and its last port.
    `allowed_flags` are those that tasks may set although they are refused otherwise. `namespaces`
    are those of a cluster that tasks have used.
    """

    runtime_dir: Path
    models_dir: Path
    instance: str
    port_range: tuple[int, int] = DEFAULT_RANGE
    llama_server_binary: str | None = None
    allowed_flags: tuple[str, ...] = ()
    container_limits: ContainerLimits = field(default_factory=ContainerLimits)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    namespaces: Callable[[], Iterable[str]] = tuple


def controller_for(mode: DeploymentMode, settings: ControllerSettings) -> Controller:
    """A new controller for `mode`.

    Raises:
        DeploymentModeUnavailable: there is no word of a cluster here. It is not asked.
    """
    if mode is DeploymentMode.LOCAL:
        return LocalController(
            settings.runtime_dir,
            settings.models_dir,
            port_range=settings.port_range,
            engines=engines(settings.llama_server_binary, settings.allowed_flags),
        )
    if mode is DeploymentMode.DOCKER:
        # docker-py takes a third of a second to load, which nothing else has to wait for.
        from controllers.docker import DockerController

        return DockerController(
            settings.runtime_dir,
            settings.models_dir,
            settings.instance,
            port_range=settings.port_range,
            engines=engines(settings.llama_server_binary, settings.allowed_flags),
            limits=settings.container_limits,
        )
    return _in_cluster(settings)


def _in_cluster(settings: ControllerSettings) -> Controller:
    if not is_configured(settings.cluster):
        raise DeploymentModeUnavailable(
            "deployment_mode 'ome' needs a Kubernetes cluster: neither AUTOTUNER_KUBECONFIG nor "
            "KUBECONFIG nor ~/.kube/config names one, and this is no pod of one."
        )
    # The Kubernetes client takes half a second to load.
    from controllers.ome import OmeController

    return OmeController(
        settings.cluster,
        settings.runtime_dir,
        settings.namespaces,
        port_range=settings.port_range,
        engines=engines(settings.llama_server_binary, settings.allowed_flags),
    )
