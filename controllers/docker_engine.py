"""A Docker engine as people look at it: containers of autotuners, what they use, what they print.

One thing can be done to them: stop one of this installation's. Every call ends in time, whatever
the engine does, and nothing without an autotuner's labels is ever shown, read or touched.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from docker import APIClient
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env
from requests import RequestException

ANSWER_S = 2
USAGE_S = 1.5
"""An engine measures its containers once a second and answers with the next measurement."""
GRACE_S = 10
LOG_LINES = 1000

INSTANCE_LABEL = "autotuner/instance"
"""Every container of an autotuner has it (`controllers.base.DeploymentIdentity.labels`)."""

_CDI_OF_NVIDIA = "nvidia.com/gpu="
_NEVER = "0001-01-01"
_START_DOCKER = "Start Docker, or let DOCKER_HOST name an engine that runs."
_HINTS = {
    errno.ENOENT: _START_DOCKER,
    errno.ECONNREFUSED: _START_DOCKER,
    errno.EACCES: "Add this user to the group `docker`, then sign in anew and restart.",
}

Answer = TypeVar("Answer")


class DockerUnavailable(Exception):
    """No engine answers as it should. The text says why and `hint` what to do, both for users."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class NoSuchContainer(Exception):
    """There is no container of that name, or no autotuner started it: the two look alike."""


class ForeignContainer(Exception):
    """It belongs to another installation of the autotuner."""


@dataclass(frozen=True)
class EngineContainer:
    """`state` is one word (`running`, `exited`); `status` says more (`Exited (1) 2 hours ago`).

    `started_at` is None for a container that was only created. `gpus` are device numbers or UUIDs,
    `all`, or `any 2`.
    """

    id: str
    name: str
    image: str
    state: str
    status: str
    started_at: datetime | None
    gpus: tuple[str, ...]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Usage:
    """What a container used up to a moment: CPU time in ns in all, memory in bytes.

    Memory is without the cache of files, which the kernel takes back when it needs it.
    """

    read_at: datetime
    cpu_ns: int
    memory_bytes: int | None


@dataclass(frozen=True)
class EngineFacts:
    """`gpus` says by what means containers are given GPUs of NVIDIA; empty where none is seen.

    `gpu_indices` are those of the cards, where the engine tells them apart: a runtime does not.
    """

    version: str
    gpus: str
    gpu_indices: tuple[int, ...] = ()


def docker_address() -> str | None:
    """DOCKER_HOST, else the first socket that is there: Docker's own, rootless, Docker Desktop."""
    given = os.environ.get("DOCKER_HOST")
    if given:
        return given
    sockets = [Path("/var/run/docker.sock"), Path.home() / ".docker" / "run" / "docker.sock"]
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    if runtime_dir:
        sockets.append(Path(runtime_dir) / "docker.sock")
    return next((f"unix://{path}" for path in sockets if path.is_socket()), None)


class DockerEngine:
    """The engine at an address as DOCKER_HOST spells it. TLS is as DOCKER_TLS_VERIFY and
    DOCKER_CERT_PATH say. All methods raise DockerUnavailable."""

    def __init__(self, address: str) -> None:
        self.address = address

    def facts(self) -> EngineFacts:
        """What the engine says of itself."""
        return self._ask(lambda client: read_facts(client.info()))

    def version(self) -> str:
        return self._ask(lambda client: str(client.version().get("Version", "unknown")))

    def containers(self) -> list[EngineContainer]:
        """Every container an autotuner started, running or not, the newest first."""
        return self._ask(lambda client: list(_containers(client)))

    def container(self, name: str) -> EngineContainer:
        """Raises NoSuchContainer."""
        return self._ask(lambda client: _container(client, name))

    def usage(self, ids: Collection[str]) -> dict[str, Usage]:
        """What running containers use, of those that could be measured in time."""
        if not ids:
            return {}
        return self._ask(partial(_usage, ids=ids), limit_s=USAGE_S + ANSWER_S)

    def log(self, name: str, lines: int = LOG_LINES) -> list[str]:
        """The last lines of both its streams, oldest first, as they were printed.

        Raises NoSuchContainer.
        """

        def read(client: APIClient) -> list[str]:
            printed = client.logs(_container(client, name).id, tail=lines)
            return str(printed, "utf-8", "replace").split("\n")

        found = self._ask(read, limit_s=2 * ANSWER_S)
        return found if found[-1] else found[:-1]

    def stop(self, name: str, instance: str) -> None:
        """Stop it politely for `GRACE_S`, then by force, and remove it.

        Raises:
            NoSuchContainer: see there.
            ForeignContainer: it is not of `instance`, and is left alone.
        """

        def stop(client: APIClient) -> None:
            found = _container(client, name)
            if found.labels[INSTANCE_LABEL] != instance:
                raise ForeignContainer(f"{name} belongs to another installation of the autotuner.")
            # By its id: the name may go to another container meanwhile. Gone is what was wanted.
            with suppress(NotFound):
                client.stop(found.id, timeout=GRACE_S)
                client.remove_container(found.id, v=True, force=True)

        self._ask(stop, limit_s=GRACE_S + 3 * ANSWER_S)

    def _ask(self, work: Callable[[APIClient], Answer], *, limit_s: float = ANSWER_S) -> Answer:
        """What `work` returns or raises, or DockerUnavailable."""

        def asked() -> Answer:
            try:
                client = _client(self.address)
            except Exception as error:
                # Errors of Docker's library, of the one for HTTP, or of the one for SSH.
                raise unavailable(self.address, error) from error
            with closing(client):
                return work(client)

        try:
            return _in_a_thread(asked).result(limit_s)
        except TimeoutError:
            reason = f"no answer within {limit_s:g} s"
            raise DockerUnavailable(reason, _hint(self.address, None)) from None
        except (DockerException, RequestException, OSError, ValueError) as error:
            raise unavailable(self.address, error) from error


def unavailable(address: str, error: Exception) -> DockerUnavailable:
    """What `error`, from asking the engine at `address`, means to users."""
    cause = _root_cause(error)
    return DockerUnavailable(_reason(error, cause), _hint(address, cause))


def _in_a_thread(work: Callable[[], Answer]) -> Future[Answer]:
    """A thread can only be left alone, not stopped: as a daemon it holds up no exit."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, name="docker", daemon=True).start()
    return future


def _client(address: str) -> APIClient:
    """Its own time limit, for one read, only ends a thread that nobody waits for any more."""
    from_env = kwargs_from_env({**os.environ, "DOCKER_HOST": address})
    return APIClient(version="auto", timeout=2 * ANSWER_S, **from_env)


def read_facts(info: Mapping[str, Any]) -> EngineFacts:
    """Of a runtime that was registered with the engine, or of devices as the Container Device
    Interface describes them, which engines tell of since version 28.2."""
    devices = [str(one.get("ID", "")) for one in info.get("DiscoveredDevices") or () if "ID" in one]
    nvidia = sorted(one for one in devices if one.startswith(_CDI_OF_NVIDIA))
    gpus = ", ".join(nvidia)
    if not gpus and "nvidia" in (info.get("Runtimes") or {}):
        gpus = "the runtime nvidia"
    version = str(info.get("ServerVersion", "of unknown version"))
    return EngineFacts(version, gpus, _card_indices(nvidia))


def _card_indices(devices: Collection[str]) -> tuple[int, ...]:
    """Of devices such as `nvidia.com/gpu=0`, or `=GPU-<uuid>`; `=all` and parts of a card are none.

    NVIDIA's toolkit describes each card by its index, by its UUID, or by both.
    """
    names = [device.removeprefix(_CDI_OF_NVIDIA) for device in devices]
    numbered = sorted(int(name) for name in names if name.isdecimal())
    by_uuid = [name for name in names if name.startswith("GPU-")]
    return tuple(numbered or range(len(by_uuid)))


def _containers(client: APIClient) -> Iterator[EngineContainer]:
    for summary in client.containers(all=True, filters={"label": INSTANCE_LABEL}):
        # Removed between the two questions: then it is no container any more.
        with suppress(NotFound):
            yield _read(client.inspect_container(summary["Id"]), summary.get("Status", ""))


def _container(client: APIClient, name: str) -> EngineContainer:
    # By its whole name, as the pages spell it; asked for one, an engine also takes part of an id.
    for summary in client.containers(all=True, filters={"label": INSTANCE_LABEL}):
        if f"/{name}" in summary["Names"]:
            return _read(client.inspect_container(summary["Id"]), summary.get("Status", ""))
    raise NoSuchContainer(f"No autotuner has a container {name}.")


def _read(found: Mapping[str, Any], status: str) -> EngineContainer:
    state, config = found["State"], found["Config"]
    return EngineContainer(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        image=config["Image"],
        state=state["Status"],
        status=f"{status}, out of memory" if state.get("OOMKilled") else status,
        started_at=_moment(state.get("StartedAt", "")),
        gpus=_gpus(found.get("HostConfig", {}).get("DeviceRequests") or ()),
        labels=config.get("Labels") or {},
    )


def _gpus(requests: Collection[Mapping[str, Any]]) -> tuple[str, ...]:
    """What was asked for: devices by number or UUID, all of them, or so many of any."""
    names: list[str] = []
    for request in requests:
        count = request.get("Count", 0)
        if request.get("DeviceIDs"):
            names += request["DeviceIDs"]
        else:
            names.append("all" if count == -1 else f"any {count}")
    return tuple(names)


def _usage(client: APIClient, ids: Collection[str]) -> dict[str, Usage]:
    """Side by side: one after the other would take a second each."""
    asked = {
        one: _in_a_thread(partial(client.stats, one, stream=False, one_shot=True)) for one in ids
    }
    wait(asked.values(), timeout=USAGE_S)
    answers = {one: future for one, future in asked.items() if future.done()}
    read = {
        one: _read_usage(future.result())
        for one, future in answers.items()
        if future.exception() is None
    }
    return {one: usage for one, usage in read.items() if usage is not None}


def _read_usage(stats: Mapping[str, Any]) -> Usage | None:
    """None for a container that has ended, of which an engine tells zeros."""
    read_at = _moment(stats.get("read", ""))
    if read_at is None:
        return None
    memory = stats.get("memory_stats", {})
    of_files = memory.get("stats", {})
    used = memory.get("usage")
    # Named as in version 2 of the kernel's control groups, or as in version 1.
    cache = of_files.get("inactive_file", of_files.get("total_inactive_file", 0))
    return Usage(
        read_at=read_at,
        cpu_ns=stats["cpu_stats"]["cpu_usage"]["total_usage"],
        memory_bytes=None if used is None else max(0, used - cache),
    )


def _moment(text: str) -> datetime | None:
    return None if not text or text.startswith(_NEVER) else datetime.fromisoformat(text)


def _root_cause(error: BaseException) -> OSError | None:
    """The system's own error below the layers of HTTP, which say it in many words."""
    found, below = None, error.__cause__ or error.__context__
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            found = below
        below = below.__cause__ or below.__context__
    return found


def _reason(error: Exception, cause: OSError | None) -> str:
    if isinstance(error, APIError) and error.explanation:
        return f"it says: {error.explanation}"
    if cause is not None and cause.strerror:
        return cause.strerror
    return " ".join(str(error).split())


def _hint(address: str, cause: OSError | None) -> str:
    if address.startswith("ssh://"):
        return (
            "See whether `ssh` gets there without a password and knows the host's key. Or forward "
            "the engine's socket to this host (`ssh -L`) and let DOCKER_HOST name it."
        )
    fallback = "See what `docker info` says with the same DOCKER_HOST."
    return _HINTS.get(cause.errno or 0, fallback) if cause is not None else fallback
