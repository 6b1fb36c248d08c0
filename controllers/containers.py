"""Containers of one Docker engine: made, started, found again, stopped, removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Ulimit
from requests import RequestException

from controllers.base import DeploymentError, DeploymentIdentity
from controllers.container_plan import ENGINE_PORT, ContainerPlan
from tuning.domain.failures import FailureKind


def find(client: DockerClient, identity: DeploymentIdentity) -> Container | None:
    """Our container of this identity; one that merely bears the name, or a part of it, is not."""
    try:
        container = client.containers.get(identity.name)
    except NotFound:
        return None
    is_ours = DeploymentIdentity.of_labels(container.labels) == identity
    return container if is_ours and container.name == identity.name else None


def launch(client: DockerClient, plan: ContainerPlan, *, with_init: bool) -> Container:
    """A started container.

    Raises:
        APIError, DeploymentError: Docker refuses it; as with any other exception, no container
            is left then, also none of a request whose answer never came.
    """
    try:
        container = _create(client, plan, with_init=with_init)
        container.start()
    except BaseException:
        with suppress(DockerException, RequestException):
            left = find(client, plan.identity)
            if left is not None:
                remove(left)
        raise
    return container


def stop(container: Container, polite_s: int) -> None:
    """Politely for `polite_s` seconds, then by force."""
    with _unless_it_goes_anyway():
        container.stop(timeout=polite_s)


def remove(container: Container) -> None:
    with _unless_it_goes_anyway():
        container.remove(v=True, force=True)


@contextmanager
def _unless_it_goes_anyway() -> Iterator[None]:
    """Somebody else may have removed it, or be about to: that is what was wanted."""
    try:
        yield
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:
            raise


def _create(client: DockerClient, plan: ContainerPlan, *, with_init: bool) -> Container:
    """The container, not started. One of the same name with our labels is taken over.

    That is what a create request leaves that was carried out and whose answer was lost.
    """
    arguments = plan.as_arguments(with_init=with_init)
    arguments["log_config"] = LogConfig(
        type=arguments["log_config"]["Type"], config=arguments["log_config"]["Config"]
    )
    if plan.gpus:
        arguments["device_requests"] = [
            DeviceRequest(device_ids=[str(index) for index in plan.gpus], capabilities=[["gpu"]])
        ]
    if plan.limits.ulimits:
        arguments["ulimits"] = [
            Ulimit(name=name, soft=value, hard=value) for name, value in plan.limits.ulimits.items()
        ]
    try:
        return client.containers.create(**arguments)
    except ImageNotFound as error:
        raise DeploymentError(FailureKind.IMAGE_MISSING, str(error.explanation)) from error
    except APIError as error:
        if error.status_code == 409:
            return _adopt(client, plan, error)
        raise


def _adopt(client: DockerClient, plan: ContainerPlan, conflict: APIError) -> Container:
    found = client.containers.get(plan.identity.name)
    bindings = found.attrs["HostConfig"].get("PortBindings") or {}
    bound = bindings.get(f"{ENGINE_PORT}/tcp") or [{}]
    is_ours = DeploymentIdentity.of_labels(found.labels) == plan.identity
    if not is_ours or bound[0].get("HostPort") != str(plan.host_port):
        raise conflict
    return found
