"""Engines as processes of this host."""

from __future__ import annotations

import os
import platform
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

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
from controllers.engine_records import EngineRecord, EngineRecords, identity_of
from controllers.engines.base import Engine, LocalCommand
from controllers.engines.catalogue import engines as all_engines
from controllers.feasibility import refuse_infeasible
from controllers.gpus import GpuInventory, read_gpus
from controllers.health import HealthProbe, not_launched_here
from controllers.ports import DEFAULT_RANGE, LOOPBACK, PortLease, lease_port
from controllers.processes import (
    MARK,
    ChildProcess,
    end_processes,
    group_members,
    listens,
    marked_processes,
    process_started_at,
)
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, LogSource

POLITE_S = 10.0
LAST_WORDS_S = 1.0
"""How many seconds `exit_failure` waits for the last lines of an engine that has just died."""

# An engine needs none of our own secrets, and it prints its environment when it crashes. The
# token of the model hub is the one exception: without it, gated models can't be downloaded.
_PRIVATE = re.compile(
    r"^(DJANGO|CELERY|AUTOTUNER)_|^(DATABASE|REDIS|BROKER)_URL$"
    r"|SECRET|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|(^|_)TOKENS?($|_)"
)
_NEEDED = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})


@dataclass(frozen=True)
class _Running:
    """An engine that this controller launched and has not deleted."""

    engine: Engine
    process: ChildProcess
    lease: PortLease


class LocalController:
    """Runs each engine as a child process in its own process group, on a loopback port.

    `runtime_dir` keeps a record of every engine and the locks of their ports; relative model
    paths begin at `models_dir`. `polite_s` is how long an engine may take to stop by itself.
    """

    def __init__(
        self,
        runtime_dir: Path,
        models_dir: Path,
        port_range: tuple[int, int] = DEFAULT_RANGE,
        engines: Mapping[EngineName, Engine] | None = None,
        polite_s: float = POLITE_S,
        read_cards: Callable[[], GpuInventory] = read_gpus,
    ) -> None:
        self._locks_dir = runtime_dir / "ports"
        self._records = EngineRecords(runtime_dir)
        self._models_dir = models_dir
        self._port_range = port_range
        self._engines = engines if engines is not None else all_engines()
        self._polite_s = polite_s
        self._read_cards = read_cards
        self._running: dict[DeploymentIdentity, _Running] = {}
        self._guard = threading.Lock()
        self._health = HealthProbe()

    def command_line(self, request: DeploymentRequest) -> tuple[str, ...]:
        """The command that `deploy` would run, with the first port of the range.

        A model that can't be found appears as the task names it; `check` tells of that.

        Raises:
            DeploymentError: a parameter is a flag that the controller sets itself.
        """
        engine = self._engines[request.engine]
        try:
            model = engine.locate_model(request.model, self._models_dir)
        except DeploymentError:
            model = request.model
        return _command(engine, request, model, self._port_range[0]).argv

    def check(self, request: DeploymentRequest) -> Failure | None:
        engine = self._engines[request.engine]
        missing = engine.missing()
        if missing is not None:
            return missing
        try:
            engine.locate_model(request.model, self._models_dir)
        except DeploymentError as error:
            return error.failure
        return None

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick = no_tick) -> Deployment:
        engine = self._engines[request.engine]
        missing = engine.missing()
        if missing is not None:
            raise DeploymentError(missing.kind, missing.message)
        model = engine.locate_model(request.model, self._models_dir)
        refuse_infeasible(engine, model, request, log, self._read_cards)
        self.delete_orphan(request.identity)
        lease = lease_port(self._locks_dir, self._port_range)
        try:
            command = _command(engine, request, model, lease.port)
            process = _launch(request, command, log)
        except BaseException:
            lease.release()
            raise
        with self._guard:
            self._running[request.identity] = _Running(engine, process, lease)
        self._record(request.identity, process, lease.port, command)
        return Deployment(
            identity=request.identity,
            base_url=f"http://{LOOPBACK}:{lease.port}",
            command=command.argv,
            environment={**_environment_facts(engine), "gpus": list(request.gpus)},
        )

    def status(self, deployment: Deployment) -> EngineStatus:
        running = self._running.get(deployment.identity)
        healthy = (
            running is not None
            and running.process.is_running()
            and self._health.is_healthy(deployment, running.engine.health_path)
        )
        snatched = None
        if healthy and running is not None and not listens(running.process.pid, running.lease.port):
            # vLLM binds its port when it starts and listens many seconds later. Until then Linux
            # lets another program listen there, which must not be measured in its place.
            snatched = Failure(
                FailureKind.PORT_TAKEN, f"Another program answers on port {running.lease.port}."
            )
        # Asked last, as the answer may come from whoever got the port after our engine died.
        failure = self.exit_failure(deployment) or snatched
        if failure is not None:
            return EngineStatus(EngineState.EXITED, failure)
        return EngineStatus(EngineState.READY if healthy else EngineState.STARTING)

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        running = self._running.get(deployment.identity)
        if running is None:
            return not_launched_here(deployment)
        return None if running.process.is_running() else _cause_of_death(running)

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        running = self._running.get(deployment.identity)
        return running.process.output.lines(lines) if running else []

    def delete(self, deployment: Deployment) -> None:
        self.delete_orphan(deployment.identity)

    def list_deployments(self, instance: str) -> list[DeploymentIdentity]:
        marked = marked_processes(lambda mark: _is_of_instance(mark, instance))
        found = {identity for mark in marked if (identity := identity_of(mark))}
        for record in self._records.of_instance(instance):
            if _group_of(record):
                found.add(record.identity)
            elif record.identity not in found and record.identity not in self._running:
                self._records.remove(record.identity)
        return sorted(found, key=lambda one: (one.task_id, one.experiment_id, one.attempt))

    def delete_orphan(self, identity: DeploymentIdentity) -> None:
        with self._guard:
            running = self._running.pop(identity, None)
        gone = running is None or running.process.end(self._polite_s)
        record = self._records.read(identity)
        if running is None and record is not None:
            gone = end_processes(lambda: _group_of(record), self._polite_s)
        gone = self._end_marked(identity) and gone
        if running is not None:
            running.lease.release()
        if gone:
            # Else the record stays, so that the next sweep tries again.
            self._records.remove(identity)

    def _end_marked(self, identity: DeploymentIdentity) -> bool:
        """End what left its process group, or outlived its leader, but still bears the mark."""
        name = identity.name
        return end_processes(
            lambda: marked_processes(lambda mark: mark == name).get(name, []), self._polite_s
        )

    def _record(
        self,
        identity: DeploymentIdentity,
        process: ChildProcess,
        port: int,
        command: LocalCommand,
    ) -> None:
        try:
            record = EngineRecord(identity, process.pid, process.start_time, port, command.argv)
            self._records.write(record)
        except OSError as error:
            self.delete_orphan(identity)
            raise DeploymentError(
                FailureKind.INTERNAL_ERROR, f"The record of an engine can't be written: {error}."
            ) from error


def _command(engine: Engine, request: DeploymentRequest, model: str, port: int) -> LocalCommand:
    return engine.local_command(
        model, request.served_model_name, LOOPBACK, port, request.parameters
    )


def _launch(request: DeploymentRequest, command: LocalCommand, log: LogSink) -> ChildProcess:
    own = {MARK: request.identity.name, **visible_cards(request.gpus)}
    environment = engine_environment(os.environ) | dict(command.env) | own
    try:
        return ChildProcess(
            command.argv, environment, command.cwd, lambda line: log(LogSource.ENGINE, line)
        )
    except OSError as error:
        raise DeploymentError(
            FailureKind.ENGINE_MISSING, f"{command.argv[0]} can't be run: {error.strerror}."
        ) from error


def visible_cards(gpus: Sequence[int]) -> dict[str, str]:
    """What keeps an engine on its own cards; nothing for one that was given none.

    CUDA counts the fastest card first unless it is told to count as the driver does (CUDA C++
    Programming Guide, "CUDA Environment Variables").
    """
    if not gpus:
        return {}
    visible = ",".join(map(str, gpus))
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}


def engine_environment(own: Mapping[str, str]) -> dict[str, str]:
    """What of our `own` environment an engine gets."""
    kept = {
        name: value
        for name, value in own.items()
        if name in _NEEDED or not _PRIVATE.search(name.upper())
    }
    # Else a Python engine's last words stay in its buffer when it is killed.
    kept["PYTHONUNBUFFERED"] = "1"
    return kept


def _cause_of_death(running: _Running) -> Failure:
    process = running.process
    process.output.join(LAST_WORDS_S)
    return running.engine.classify_exit(process.output.lines(), process.exit_code)


def _group_of(record: EngineRecord) -> list[psutil.Process]:
    """The living processes of a recorded engine's group, if the group is certainly still ours.

    That is so while its leader lives. Without the leader, the group's number may have been given
    away, and the mark in the environment has to decide.
    """
    if process_started_at(record.pid, record.start_time):
        return group_members(record.pid)
    name = record.identity.name
    marked = marked_processes(lambda mark: mark == name).get(name, [])
    # vLLM's workers overwrite their environment, mark and all, and live on without their leader.
    # One marked member shows that the group is still ours: nobody else can join it.
    if any(_is_in_group(process.pid, record.pid) for process in marked):
        return [*{*marked, *group_members(record.pid)}]
    return marked


def _is_in_group(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group
    except OSError:
        return False


def _is_of_instance(mark: str, instance: str) -> bool:
    identity = identity_of(mark)
    return identity is not None and identity.instance == instance


def _environment_facts(engine: Engine) -> dict[str, str | int | None]:
    return {
        "engine": engine.name.value,
        "engine_version": engine.version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // (1 << 20),
    }
