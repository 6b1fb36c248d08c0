"""Engines as containers of a Docker engine."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx
from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Ulimit
from requests import RequestException

from controllers.base import (
    Deployment,
    DeploymentError,
    DeploymentIdentity,
    DeploymentRequest,
    EngineState,
    EngineStatus,
    LogSink,
)
from controllers.container_output import ContainerOutput, ExitFacts
from controllers.container_plan import (
    ENGINE_PORT,
    ContainerLimits,
    ContainerPlan,
    locate_model,
    plan_container,
)
from controllers.docker_engine import INSTANCE_LABEL, docker_address
from controllers.engines.base import Engine
from controllers.engines.catalogue import engines as all_engines
from controllers.images import ensure_image
from controllers.ports import DEFAULT_RANGE, LOOPBACK, PortLease, lease_port
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, LogSource

POLITE_S = 10
HEALTH_TIMEOUT_S = 1.0
API_TIMEOUT_S = 60
LAST_WORDS_S = 2.0
"""How many seconds the last lines of a container that has just died may take to arrive."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Running:
    engine: Engine
    container: Container
    output: ContainerOutput
    lease: PortLease


class DockerController:
    """Runs each engine in a container of its own, published on a loopback port.

    `models_dir` is where models lie; `runtime_dir` keeps the locks of ports. `instance` names the
    volume of caches that all its containers share.
    """

    def __init__(
        self,
        runtime_dir: Path,
        models_dir: Path,
        instance: str,
        port_range: tuple[int, int] = DEFAULT_RANGE,
        engines: Mapping[EngineName, Engine] | None = None,
        limits: ContainerLimits | None = None,
        polite_s: int = POLITE_S,
    ) -> None:
        self._locks_dir = runtime_dir / "ports"
        self._models_dir = models_dir
        self._cache_volume = f"autotuner-{instance}-cache"
        self._port_range = port_range
        self._engines = engines if engines is not None else all_engines()
        self._limits = limits or ContainerLimits()
        self._polite_s = polite_s
        self._running: dict[DeploymentIdentity, _Running] = {}
        self._guard = threading.Lock()
        self._http = httpx.Client(
            timeout=HEALTH_TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def command_line(self, request: DeploymentRequest) -> tuple[str, ...]:
        """What runs inside the container."""
        engine = self._engines[request.engine]
        try:
            model = locate_model(request.model, self._models_dir).name
        except DeploymentError:
            model = request.model
        command = engine.container_command(
            model,
            request.served_model_name,
            "0.0.0.0",
            ENGINE_PORT,
            request.parameters,
            request.runtime_image_tag,
        )
        return command.argv

    def check(self, request: DeploymentRequest) -> Failure | None:
        try:
            locate_model(request.model, self._models_dir)
            self._client().close()
        except DeploymentError as error:
            return error.failure
        return None

    def deploy(self, request: DeploymentRequest, log: LogSink) -> Deployment:
        engine = self._engines[request.engine]
        model = locate_model(request.model, self._models_dir)
        client = self._client()
        self.delete_orphan(request.identity)
        lease = lease_port(self._locks_dir, self._port_range)
        try:
            plan = plan_container(
                request,
                engine,
                model,
                lease.port,
                os.environ,
                self._cache_volume,
                self._limits,
            )
            image = ensure_image(
                client, plan.command.image, lambda line: log(LogSource.ORCHESTRATOR, line)
            )
            container = _create(client, plan)
            _start(container)
        except BaseException:
            lease.release()
            with suppress(DockerException, DeploymentError):
                self.delete_orphan(request.identity)
            raise
        output = ContainerOutput(container, lambda line: log(LogSource.ENGINE, line))
        with self._guard:
            self._running[request.identity] = _Running(engine, container, output, lease)
        return Deployment(
            identity=request.identity,
            base_url=f"http://{LOOPBACK}:{lease.port}",
            command=plan.command.argv,
            environment=_facts(client, plan, image),
        )

    def status(self, deployment: Deployment) -> EngineStatus:
        running = self._running.get(deployment.identity)
        healthy = running is not None and self._is_healthy(
            f"{deployment.base_url}{running.engine.health_path}"
        )
        # Asked last: a container that died may have left its port to somebody who answers.
        failure = self.exit_failure(deployment)
        if failure is not None:
            return EngineStatus(EngineState.EXITED, failure)
        return EngineStatus(EngineState.READY if healthy else EngineState.STARTING)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        running = self._running.get(deployment.identity)
        if running is None:
            return Failure(
                FailureKind.CRASHED,
                f"No engine {deployment.identity.name} was launched by this process, "
                "or it has been deleted.",
            )
        facts = running.output.exit_facts
        return None if facts is None else _cause_of_death(running, facts)

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        running = self._running.get(deployment.identity)
        return running.output.lines(lines) if running else []

    def delete(self, deployment: Deployment) -> None:
        self.delete_orphan(deployment.identity)

    def list_deployments(self, instance: str) -> list[DeploymentIdentity]:
        if docker_address() is None:
            return []
        client = self._client()
        found = client.api.containers(all=True, filters={"label": f"{INSTANCE_LABEL}={instance}"})
        identities = (DeploymentIdentity.of_labels(one.get("Labels") or {}) for one in found)
        return sorted(
            {one for one in identities if one is not None},
            key=lambda one: (one.task_id, one.experiment_id, one.attempt),
        )

    def delete_orphan(self, identity: DeploymentIdentity) -> None:
        with self._guard:
            running = self._running.pop(identity, None)
        client = self._client()
        with suppress(NotFound):
            # By its whole name; a container that merely bears it is not ours.
            container = client.containers.get(identity.name)
            if container.labels.get(INSTANCE_LABEL) == identity.instance:
                container.stop(timeout=self._polite_s)
                if running is not None:
                    running.output.join(LAST_WORDS_S)
                _remove(container)
        if running is not None:
            running.lease.release()

    def _client(self) -> DockerClient:
        """Raises DeploymentError: no engine answers."""
        address = docker_address()
        if address is None:
            raise _no_engine("there is no socket of one, and DOCKER_HOST is not set")
        try:
            environment = {**os.environ, "DOCKER_HOST": address}
            client = docker.from_env(timeout=API_TIMEOUT_S, environment=environment)
            client.ping()
        except (DockerException, RequestException, OSError, ValueError) as error:
            raise _no_engine(f"{address} does not answer ({error})") from error
        return client

    def _is_healthy(self, url: str) -> bool:
        try:
            return self._http.get(url).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def _no_engine(why: str) -> DeploymentError:
    message = f"No Docker engine can be reached: {' '.join(why.split())}."
    return DeploymentError(FailureKind.ENGINE_MISSING, message)


def _create(client: DockerClient, plan: ContainerPlan) -> Container:
    """The container, not started. One of the same name with our labels is taken over.

    That is what a create request leaves that was carried out and whose answer was lost.
    """
    arguments = plan.as_arguments()
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
        raise _refused(error) from error


def _adopt(client: DockerClient, plan: ContainerPlan, conflict: APIError) -> Container:
    found = client.containers.get(plan.name)
    bindings = found.attrs["HostConfig"].get("PortBindings") or {}
    bound = bindings.get(f"{ENGINE_PORT}/tcp") or [{}]
    is_ours = all(found.labels.get(name) == value for name, value in plan.labels.items())
    if not is_ours or bound[0].get("HostPort") != str(plan.host_port):
        raise _refused(conflict) from conflict
    return found


def _start(container: Container) -> None:
    try:
        container.start()
    except APIError as error:
        raise _refused(error) from error


_REFUSALS: tuple[tuple[str, FailureKind], ...] = (
    ("could not select device driver", FailureKind.ACCELERATOR_MISSING),
    ("nvidia-container-cli", FailureKind.ACCELERATOR_MISSING),
    ("unresolvable CDI devices", FailureKind.ACCELERATOR_MISSING),
    ("port is already allocated", FailureKind.PORT_TAKEN),
    ("address already in use", FailureKind.PORT_TAKEN),
    ("executable file not found", FailureKind.IMAGE_MISSING),
)
"""What Docker's own refusals are known by, and what kind of failure each is."""


def _refused(error: APIError) -> DeploymentError:
    said = str(error.explanation or error)
    kind = next((kind for words, kind in _REFUSALS if words in said), FailureKind.CRASHED)
    return DeploymentError(kind, f"Docker refused the container: {said}")


def _remove(container: Container) -> None:
    try:
        container.remove(v=True, force=True)
    except NotFound:
        return
    except APIError as error:
        # Somebody else removes it at this moment: that is what was wanted.
        if error.status_code != 409:
            raise


def _cause_of_death(running: _Running, facts: ExitFacts) -> Failure:
    running.output.join(LAST_WORDS_S)
    if facts.out_of_memory:
        return Failure(
            FailureKind.OUT_OF_MEMORY,
            f"{running.engine.name} was killed for want of memory: its container's limit is "
            "reached.",
        )
    # A shell's spelling of a signal, which is how Docker gives it.
    code = facts.exit_code
    if code is not None and code > 128:
        code = 128 - code
    return running.engine.classify_exit(running.output.lines(), code)


def _facts(client: DockerClient, plan: ContainerPlan, image: Any) -> dict[str, Any]:
    digests = image.attrs.get("RepoDigests") or []
    return {
        "image": plan.command.image,
        "image_digest": digests[0].partition("@")[2] if digests else image.id,
        "docker_version": client.version().get("Version"),
        "gpus": list(plan.gpus),
    }
