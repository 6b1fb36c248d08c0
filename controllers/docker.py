"""Engines as containers of a Docker engine."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.models.images import Image

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
from controllers.container_output import ENGINE_AWAY_S, ContainerOutput, ExitFacts
from controllers.container_plan import (
    ContainerLimits,
    ContainerPlan,
    engine_command,
    locate_model,
    plan_container,
)
from controllers.containers import find, launch, remove, stop
from controllers.docker_connection import connection
from controllers.docker_engine import INSTANCE_LABEL, docker_address
from controllers.engines.base import Engine
from controllers.engines.catalogue import engines as all_engines
from controllers.feasibility import refuse_infeasible
from controllers.gpus import GpuInventory, read_gpus
from controllers.health import HealthProbe, not_launched_here
from controllers.image_help import ImageHelp
from controllers.images import ensure_image
from controllers.ports import DEFAULT_RANGE, LOOPBACK, lease_port
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, LogSource

POLITE_S = 10
LAST_WORDS_S = 2.0
"""How many seconds the last lines of a container that has just died may take to arrive."""
SHELL_SIGNALS = range(129, 128 + 65)
"""Exit codes that mean a signal, in a shell's spelling, which is how Docker gives it."""
_NO_PROGRAM = re.compile(r"^\[FATAL tini \(\d+\)\] exec (.+) failed: ")
"""What Docker's init says when the image lacks the engine."""


@dataclass(frozen=True)
class _Running:
    """A container that this controller started and has not deleted. `stack` gives back its port
    and the connections to Docker."""

    engine: Engine
    image: str
    output: ContainerOutput
    stack: ExitStack


class DockerController:
    """Runs each engine in a container of its own, published on a loopback port.

    `models_dir` is where models lie; `runtime_dir` keeps the locks of ports. `instance` names the
    volume of caches that all its containers share. All methods but `status`, `exit_failure`,
    `recent_log` and `command_line` raise DeploymentError when no Docker engine answers.
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
        read_cards: Callable[[], GpuInventory] = read_gpus,
    ) -> None:
        self._locks_dir = runtime_dir / "ports"
        self._image_help = ImageHelp(runtime_dir / "image_help", instance)
        self._models_dir = models_dir
        self._cache_volume = f"autotuner-{instance}-cache"
        self._port_range = port_range
        self._engines = engines if engines is not None else all_engines()
        self._limits = limits or ContainerLimits()
        self._polite_s = polite_s
        self._read_cards = read_cards
        self._running: dict[DeploymentIdentity, _Running] = {}
        self._guard = threading.Lock()
        self._health = HealthProbe()

    def command_line(self, request: DeploymentRequest) -> tuple[str, ...]:
        """What runs inside the container."""
        engine = self._engines[request.engine]
        try:
            model = locate_model(request.model, self._models_dir, engine).name
        except DeploymentError:
            model = request.model
        return engine_command(request, engine, model).argv

    def check(self, request: DeploymentRequest) -> Failure | None:
        try:
            locate_model(request.model, self._models_dir, self._engines[request.engine])
            with connection():
                return None
        except DeploymentError as error:
            return error.failure

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick = no_tick) -> Deployment:
        engine = self._engines[request.engine]
        model = locate_model(request.model, self._models_dir, engine)
        command = engine_command(request, engine, model.name)
        on_host = engine.locate_model(request.model, self._models_dir)
        refuse_infeasible(engine, on_host, request, log, self._read_cards)
        self.delete_orphan(request.identity)
        with ExitStack() as stack:
            client = stack.enter_context(connection())
            facts = client.info()
            image = ensure_image(
                client, command.image, lambda line: log(LogSource.ORCHESTRATOR, line), tick
            )
            self._image_help.check(client, image, engine, command, request.parameters, tick)
            lease = stack.enter_context(lease_port(self._locks_dir, self._port_range))
            plan = plan_container(
                request,
                engine,
                model,
                command,
                lease.port,
                os.environ,
                self._cache_volume,
                self._limits,
            )
            container = launch(client, plan, with_init=_has_init(facts))
            output = ContainerOutput(container, lambda line: log(LogSource.ENGINE, line))
            running = _Running(engine, command.image, output, stack.pop_all())
        with self._guard:
            self._running[request.identity] = running
        return Deployment(
            identity=request.identity,
            base_url=f"http://{LOOPBACK}:{lease.port}",
            command=command.argv,
            environment=_environment_facts(engine, plan, image, facts),
        )

    def status(self, deployment: Deployment) -> EngineStatus:
        running = self._running.get(deployment.identity)
        healthy = running is not None and self._health.is_healthy(
            deployment, running.engine.health_path
        )
        # Asked last: a container that died may have left its port to somebody who answers.
        failure = self.exit_failure(deployment)
        if failure is not None:
            return EngineStatus(EngineState.EXITED, failure)
        return EngineStatus(EngineState.READY if healthy else EngineState.STARTING)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        running = self._running.get(deployment.identity)
        if running is None:
            return not_launched_here(deployment)
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
        with connection() as client:
            # Not by `containers.list`: that asks for each one, which may be gone by then.
            found = client.api.containers(
                all=True, filters={"label": f"{INSTANCE_LABEL}={instance}"}
            )
        identities = {
            identity
            for one in found
            if (identity := DeploymentIdentity.of_labels(one.get("Labels") or {}))
            # Labels alone may be copied: an image made of a container of ours has them too.
            and f"/{identity.name}" in (one.get("Names") or ())
        }
        return sorted(identities, key=lambda one: (one.task_id, one.experiment_id, one.attempt))

    def delete_orphan(self, identity: DeploymentIdentity) -> None:
        with self._guard:
            running = self._running.pop(identity, None)
        with ExitStack() as stack:
            if running is not None:
                stack.push(running.stack)
            client = stack.enter_context(connection())
            container = find(client, identity)
            if container is None:
                return
            stop(container, self._polite_s)
            if running is not None:
                running.output.join(LAST_WORDS_S)
            remove(container)


def _has_init(facts: Mapping[str, Any]) -> bool:
    """Whether the engine's host has Docker's init, which some distributions package separately."""
    return bool((facts.get("InitCommit") or {}).get("ID") != "N/A")


def _cause_of_death(running: _Running, facts: ExitFacts) -> Failure:
    running.output.join(LAST_WORDS_S)
    engine, lines, code = running.engine, running.output.lines(), facts.exit_code
    if facts.docker_is_away:
        return Failure(
            FailureKind.ENGINE_MISSING,
            f"The Docker engine that runs {engine.name} has not answered for {ENGINE_AWAY_S:g} s.",
        )
    if facts.out_of_memory:
        return Failure(
            FailureKind.OUT_OF_MEMORY,
            f"The kernel killed a process of {engine.name} for want of memory, its container's "
            "or the host's.",
        )
    if lines and (no_program := _NO_PROGRAM.match(lines[-1])):
        return Failure(
            FailureKind.IMAGE_MISSING,
            f"The image {running.image} has no program {no_program[1]} that can be run.",
        )
    if code is not None and code in SHELL_SIGNALS:
        code = 128 - code
    if code != -signal.SIGKILL:
        return engine.classify_exit(lines, code)
    # Not by the kernel for want of memory: Docker would have told of that.
    failure = engine.classify_exit(lines, None)
    if failure.kind is FailureKind.CRASHED:
        return Failure(FailureKind.CRASHED, f"{engine.name} was killed by SIGKILL, from outside.")
    return failure


def _environment_facts(
    engine: Engine, plan: ContainerPlan, image: Image, docker_facts: Mapping[str, Any]
) -> dict[str, Any]:
    digests = image.attrs.get("RepoDigests") or []
    memory = docker_facts.get("MemTotal")
    return {
        "engine": engine.name.value,
        "image": plan.command.image,
        "image_digest": digests[0].partition("@")[2] if digests else image.id,
        "docker_version": docker_facts.get("ServerVersion"),
        "cpu_count": docker_facts.get("NCPU"),
        "memory_mib": memory // (1 << 20) if isinstance(memory, int) else None,
        "gpus": list(plan.gpus),
    }
