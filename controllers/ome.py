"""Engines as InferenceServices of OME in a Kubernetes cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient

from controllers.base import (
    Deployment,
    DeploymentError,
    DeploymentIdentity,
    DeploymentRequest,
    EngineState,
    EngineStatus,
    LogSink,
    Tick,
    no_tick,
)
from controllers.cluster.address import reachable_url
from controllers.cluster.connection import ClusterUnavailable, api_client, asking
from controllers.cluster.engine_watch import EngineWatch, Wanted
from controllers.cluster.forward import PortForward
from controllers.cluster.launching import launch
from controllers.cluster.manifests import Manifests
from controllers.cluster.offer import (
    Planned,
    lacks_namespace,
    make_namespace,
    namespace_of,
    planned,
    versions,
)
from controllers.cluster.removal import labelled, remove
from controllers.cluster.service_plan import GRACE_S
from controllers.cluster.settings import ClusterSettings, is_configured
from controllers.engines.base import Engine
from controllers.engines.catalogue import engines as all_engines
from controllers.health import HealthProbe, not_launched_here
from controllers.ports import DEFAULT_RANGE, LOOPBACK, lease_port
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, LogSource


@dataclass
class _Running:
    """An engine that this controller started and has not deleted. `stack` ends its forward and its
    watches and gives back its port. `reached` is how it is reached, once OME calls it ready."""

    engine: Engine
    namespace: str
    watch: EngineWatch
    forward: PortForward
    stack: ExitStack
    reached: Deployment | None = None


class OmeController:
    """Runs each engine as an InferenceService of its own.

    `runtime_dir` keeps the locks of the loopback ports through which engines are reached.
    `namespaces` are those that tasks have used: they are looked through where the cluster does not
    let us list all; while there are none, nothing was ever deployed, and no cluster is asked what
    is there. Methods raise DeploymentError when the cluster does not answer; `status`,
    `exit_failure` and `recent_log` ask it nothing and tell of that by a failure.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        runtime_dir: Path,
        namespaces: Callable[[], Iterable[str]],
        port_range: tuple[int, int] = DEFAULT_RANGE,
        engines: Mapping[EngineName, Engine] | None = None,
        polite_s: float = GRACE_S,
    ) -> None:
        self._settings = settings
        self._manifests = Manifests(settings.templates_dir)
        self._locks_dir = runtime_dir / "ports"
        self._port_range = port_range
        self._engines = engines if engines is not None else all_engines()
        self._namespaces = namespaces
        self._polite_s = polite_s
        self._connected: ApiClient | None = None
        self._running: dict[DeploymentIdentity, _Running] = {}
        self._guard = threading.Lock()
        self._health = HealthProbe()

    def command_line(self, request: DeploymentRequest) -> tuple[str, ...]:
        """What OME would run in the pod; where the cluster can't tell, the engine's own command."""
        engine = self._engines[request.engine]
        try:
            return self._plan(self._client(), request).plan.command
        except DeploymentError as error:
            if error.failure.kind is FailureKind.BAD_FLAG:
                raise
        image = engine.image_with_tag(request.runtime_image, request.runtime_image_tag)
        return engine.container_command(
            request.model, request.served_model_name, "0.0.0.0", 8080, request.parameters, image
        ).argv

    def check(self, request: DeploymentRequest) -> Failure | None:
        try:
            client = self._client()
            self._plan(client, request)
            lacks_namespace(client, namespace_of(request), self._settings)
        except DeploymentError as error:
            return error.failure
        return None

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick = no_tick) -> Deployment:
        engine, identity = self._engines[request.engine], request.identity
        client, namespace = self._client(), namespace_of(request)
        wanted = self._plan(client, request)
        if lacks_namespace(client, namespace, self._settings):
            make_namespace(client, namespace)
        facts = versions(client)
        with ExitStack() as stack:
            lease = stack.enter_context(lease_port(self._locks_dir, self._port_range))
            service = launch(client, wanted, identity, namespace, self._polite_s, tick)
            try:
                watch = self._watch(client, service, engine, wanted, log)
                stack.callback(watch.close)
                forward = _forward(client, namespace, watch, wanted, lease.port, log)
                stack.callback(forward.close)
            except BaseException:
                remove(client, identity, namespace, self._polite_s)
                raise
            running = _Running(engine, namespace, watch, forward, stack.pop_all())
        with self._guard:
            self._running[identity] = running
        return Deployment(
            identity=identity,
            base_url=f"http://{LOOPBACK}:{lease.port}",
            command=wanted.plan.command,
            environment=_environment_facts(engine, wanted, namespace, facts),
            namespace=namespace,
            gpus=wanted.plan.gpus,
        )

    def status(self, deployment: Deployment) -> EngineStatus:
        running = self._running.get(deployment.identity)
        if running is None:
            return EngineStatus(EngineState.EXITED, not_launched_here(deployment))
        view = running.watch.view()
        if view.failure is not None:
            return EngineStatus(EngineState.EXITED, view.failure)
        if view.reading.unschedulable:
            return EngineStatus(EngineState.PENDING, detail=view.reading.unschedulable)
        if view.reading.is_ready and (reached := self._reached(running, deployment)) is not None:
            return EngineStatus(EngineState.READY, deployment=reached)
        if running.forward.refusal is not None:
            return EngineStatus(EngineState.EXITED, running.forward.refusal)
        return EngineStatus(EngineState.STARTING, detail=view.reading.detail)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        running = self._running.get(deployment.identity)
        return not_launched_here(deployment) if running is None else running.watch.view().failure

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        running = self._running.get(deployment.identity)
        return running.watch.lines(lines) if running else []

    def delete(self, deployment: Deployment) -> None:
        self._remove(deployment.identity, deployment.namespace)

    def list_deployments(self, instance: str) -> list[DeploymentIdentity]:
        if not is_configured(self._settings) or not any(self._namespaces()):
            return []
        found = {identity for identity, _ in self._labelled({"autotuner/instance": instance})}
        return sorted(found, key=lambda one: (one.task_id, one.experiment_id, one.attempt))

    def delete_orphan(self, identity: DeploymentIdentity) -> None:
        self._remove(identity, None)

    # --- The cluster ---

    def _client(self) -> ApiClient:
        with self._guard:
            if self._connected is None:
                try:
                    self._connected = api_client(self._settings)
                except ClusterUnavailable as error:
                    message = str(error)
                    raise DeploymentError(FailureKind.CLUSTER_UNAVAILABLE, message) from error
            return self._connected

    def _plan(self, client: ApiClient, request: DeploymentRequest) -> Planned:
        engine = self._engines[request.engine]
        return planned(client, request, engine, self._settings, self._manifests)

    def _watch(
        self,
        client: ApiClient,
        service: dict[str, Any],
        engine: Engine,
        wanted: Planned,
        log: LogSink,
    ) -> EngineWatch:
        room = Wanted(wanted.plan.gpus, wanted.gpu_resource, self._settings.pending_timeout_s)
        return EngineWatch(client, service, engine, room, lambda line: log(LogSource.ENGINE, line))

    def _labelled(self, labels: Mapping[str, str]) -> set[tuple[DeploymentIdentity, str]]:
        """Whose objects bear these labels, and in which namespaces."""
        client = self._client()
        with asking(client, "look for what the autotuner has deployed"):
            found = labelled(client, labels, self._namespaces)
        return {
            (identity, one["metadata"]["namespace"])
            for _, one in found
            if (identity := DeploymentIdentity.of_labels(one["metadata"]["labels"])) is not None
        }

    def _remove(self, identity: DeploymentIdentity, namespace: str | None) -> None:
        with self._guard:
            running = self._running.pop(identity, None)
        with ExitStack() as stack:
            if running is not None:
                namespace = running.namespace
                stack.push(running.stack)
            if namespace is None and not is_configured(self._settings):
                return
            places = {namespace} if namespace else self._places_of(identity)
            for place in places:
                remove(self._client(), identity, place, self._polite_s)

    def _places_of(self, identity: DeploymentIdentity) -> set[str]:
        return {namespace for _, namespace in self._labelled(identity.labels)}

    # --- Reaching it ---

    def _reached(self, running: _Running, deployment: Deployment) -> Deployment | None:
        """The deployment as it is reached, with all facts, or None while it does not answer.

        Straight to the service where that is possible; the way through the API server is longer.
        """
        if running.reached is None:
            url = reachable_url(self._client(), running.watch.service, running.namespace)
            running.reached = replace(
                deployment,
                base_url=url or deployment.base_url,
                environment={**deployment.environment, **running.watch.facts()},
            )
            # Looking for the way may have taken most of the time that there is for an answer.
            return None
        is_healthy = self._health.is_healthy(running.reached, running.engine.health_path)
        return running.reached if is_healthy else None


def _forward(
    client: ApiClient,
    namespace: str,
    watch: EngineWatch,
    wanted: Planned,
    local_port: int,
    log: LogSink,
) -> PortForward:
    try:
        return PortForward(
            client,
            namespace,
            lambda: watch.pod_name,
            wanted.plan.port,
            local_port,
            lambda line: log(LogSource.ORCHESTRATOR, line),
        )
    except OSError as error:
        raise DeploymentError(
            FailureKind.PORT_TAKEN, f"The port {local_port} was taken by somebody else: {error}."
        ) from error


def _environment_facts(
    engine: Engine, wanted: Planned, namespace: str, versions: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "engine": engine.name.value,
        "namespace": namespace,
        **versions,
        **wanted.plan.facts,
    }
