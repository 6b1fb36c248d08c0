"""What a container is made with: image, command, model, GPUs, caches, limits. Pure values.

Sources: the Docker Engine API reference ("Create a container"), the installation pages of SGLang
and vLLM for Docker (shared memory, the hub's cache), and their documentation of environment
variables for the caches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controllers.base import DeploymentError, DeploymentIdentity, DeploymentRequest
from controllers.engines.base import ContainerCommand, Engine
from tuning.domain.failures import FailureKind

ENGINE_PORT = 8000
"""Where every engine listens inside its container."""
MODEL_MOUNT = "/model"
CACHE_MOUNT = "/cache"
MIB = 1024 * 1024

_CACHES = {
    "XDG_CACHE_HOME": CACHE_MOUNT,
    "HF_HOME": f"{CACHE_MOUNT}/huggingface",
    "TORCHINDUCTOR_CACHE_DIR": f"{CACHE_MOUNT}/torchinductor",
    "TRITON_CACHE_DIR": f"{CACHE_MOUNT}/triton",
    "VLLM_CACHE_ROOT": f"{CACHE_MOUNT}/vllm",
    "DG_JIT_CACHE_DIR": f"{CACHE_MOUNT}/deep_gemm",
    "SGLANG_DG_CACHE_DIR": f"{CACHE_MOUNT}/deep_gemm",
    "FLASHINFER_WORKSPACE_BASE": CACHE_MOUNT,
    "CUDA_CACHE_PATH": f"{CACHE_MOUNT}/cuda",
}
"""Where engines keep weights and what they compiled, so that a second launch finds it."""

_HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_PASSED_ON = ("HF_ENDPOINT", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_PART_OF_MODEL = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf")
"""A GGUF that was split, as llama-gguf-split names the parts; engines are given the first."""


@dataclass(frozen=True)
class ContainerLimits:
    """What a container may use. None sets no limit; `ulimits` are set only where given.

    Raised ulimits (`memlock` of -1) are refused by engines that run without the right to do so.
    """

    memory_mib: int | None = None
    pids: int | None = 4096
    shm_mib: int = 16 * 1024
    ipc: str = "private"
    ulimits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerModel:
    """`name` is what the engine's command calls it. `mounts` says which file or directory of the
    host appears where in the container; a hub id has none."""

    name: str
    mounts: Mapping[Path, str] = field(default_factory=dict)


def locate_model(model: str, models_dir: Path, engine: Engine) -> ContainerModel:
    """The model as a container sees it: files below `models_dir`, or a hub id.

    Raises:
        DeploymentError: MODEL_MISSING, also for a path that leaves `models_dir`, by a link or not.
            A container is given what it asks for as root, so links lead no further than here.
    """
    found = engine.locate_model(model, models_dir)
    if not Path(found).is_absolute():
        return ContainerModel(found)
    path = Path(found)
    if path.is_dir():
        return ContainerModel(MODEL_MOUNT, {_inside(path, models_dir): MODEL_MOUNT})
    # A link may have quite another name than what it leads to: the engine sees the link's.
    files = {_inside(part, models_dir): f"{MODEL_MOUNT}/{part.name}" for part in _all_parts(path)}
    return ContainerModel(f"{MODEL_MOUNT}/{path.name}", files)


def _all_parts(path: Path) -> list[Path]:
    """The files of a model of which `path` is one, or the only one."""
    match = _PART_OF_MODEL.fullmatch(path.name)
    if match is None:
        return [path]
    count = match["count"]
    names = (f"{match['stem']}-{number:05d}-of-{count}.gguf" for number in range(1, int(count) + 1))
    parts = [path.with_name(name) for name in names]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise DeploymentError(
            FailureKind.MODEL_MISSING,
            f"The model {path.name} is one of {int(count)} parts; {missing[0]} is not beside it.",
        )
    return parts


def _inside(path: Path, models_dir: Path) -> Path:
    resolved, root = path.resolve(), models_dir.resolve()
    if not resolved.is_relative_to(root) or resolved == root:
        raise DeploymentError(
            FailureKind.MODEL_MISSING,
            f"The model {path} lies at {resolved}, outside of the model directory {root}. "
            "Containers are given models of that directory only (DOCKER_MODEL_PATH).",
        )
    return resolved


@dataclass(frozen=True)
class ContainerPlan:
    """Everything that `docker create` is told."""

    identity: DeploymentIdentity
    command: ContainerCommand
    host_port: int
    model: ContainerModel
    gpus: Sequence[int]
    environment: Mapping[str, str]
    cache_volume: str
    limits: ContainerLimits
    with_shared_memory: bool

    def as_arguments(self, *, with_init: bool) -> dict[str, Any]:
        """Keyword arguments for docker-py's `containers.create`.

        `with_init` runs the engine below Docker's own small init, which ends what an engine's
        workers leave behind when they die before it.
        """
        arguments: dict[str, Any] = {
            "image": self.command.image,
            "command": list(self.command.arguments),
            "name": self.identity.name,
            "labels": self.identity.labels,
            "environment": dict(self.environment),
            "ports": {f"{ENGINE_PORT}/tcp": ("127.0.0.1", self.host_port)},
            "mounts": self._mounts(),
            "init": with_init,
            "security_opt": ["no-new-privileges:true"],
            "pids_limit": self.limits.pids or -1,
            "log_config": {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "2"}},
        }
        if self.command.entrypoint is not None:
            arguments["entrypoint"] = [self.command.entrypoint]
        if self.limits.memory_mib is not None:
            arguments["mem_limit"] = self.limits.memory_mib * MIB
        if self.with_shared_memory:
            arguments["ipc_mode"] = self.limits.ipc
            if self.limits.ipc != "host":
                arguments["shm_size"] = self.limits.shm_mib * MIB
        return arguments

    def _mounts(self) -> list[dict[str, Any]]:
        cache = {"Type": "volume", "Source": self.cache_volume, "Target": CACHE_MOUNT}
        models = [
            {"Type": "bind", "Source": str(path), "Target": target, "ReadOnly": True}
            for path, target in self.model.mounts.items()
        ]
        return [cache, *models]


def environment_of(own: Mapping[str, str]) -> dict[str, str]:
    """What a container gets of our `own` environment, and where its caches are.

    Proxies in both spellings, as programs read either; never for loopback, where the engine's own
    processes talk to each other. Of our secrets only the hub's token.
    """
    environment = {**_CACHES, "PYTHONUNBUFFERED": "1"}
    for name in (*_HUB_TOKENS, *_PASSED_ON):
        if own.get(name):
            environment[name] = own[name]
    proxied = False
    for name in _PROXIES:
        value = own.get(name) or own.get(name.lower())
        if value:
            environment[name] = environment[name.lower()] = value
            proxied = True
    if proxied:
        given = own.get("NO_PROXY") or own.get("no_proxy") or ""
        hosts = [host.strip() for host in given.split(",") if host.strip()]
        direct = ",".join(dict.fromkeys([*hosts, *_LOOPBACK]))
        environment["NO_PROXY"] = environment["no_proxy"] = direct
    return environment


def engine_command(request: DeploymentRequest, engine: Engine, model_name: str) -> ContainerCommand:
    """What runs in the container, and of which image.

    Raises:
        DeploymentError: BAD_FLAG, a parameter is a flag that the controller sets itself.
    """
    return engine.container_command(
        model_name,
        request.served_model_name,
        "0.0.0.0",
        ENGINE_PORT,
        request.parameters,
        engine.image_with_tag(request.runtime_image, request.runtime_image_tag, len(request.gpus)),
    )


def plan_container(
    request: DeploymentRequest,
    engine: Engine,
    model: ContainerModel,
    command: ContainerCommand,
    host_port: int,
    own_environment: Mapping[str, str],
    cache_volume: str,
    limits: ContainerLimits,
) -> ContainerPlan:
    return ContainerPlan(
        identity=request.identity,
        command=command,
        host_port=host_port,
        model=model,
        gpus=request.gpus,
        environment=environment_of(own_environment) | dict(engine.environment),
        cache_volume=cache_volume,
        limits=limits,
        with_shared_memory=engine.shares_host_memory,
    )
