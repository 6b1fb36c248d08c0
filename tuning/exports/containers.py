"""The winner in a container: as a `docker run`, and as a service of a compose file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controllers.engines.base import ContainerCommand
from tuning.domain.names import EngineName
from tuning.exports.names import dns_name
from tuning.exports.shell_text import by_flag, script
from tuning.exports.winner import Winner
from tuning.exports.yaml_text import to_yaml

PORT = 8000
PUBLISHED = f"127.0.0.1:{PORT}:{PORT}"
"""On loopback: the servers ask nobody for a password."""
HUB_TOKEN = "HF_TOKEN"
HUB_CACHE = "huggingface-cache"
HUB_CACHE_IN_CONTAINER = "/root/.cache/huggingface"
SHARED_MEMORY = "16g"


@dataclass(frozen=True)
class Mount:
    """A directory or file of the host, read-only, or a volume that keeps what is downloaded."""

    kind: str
    source: str
    target: str
    read_only: bool


def docker_run(winner: Winner) -> str:
    """A shell script."""
    return script(_docker_words(winner), comments(winner))


def compose_file(winner: Winner) -> str:
    name = dns_name(winner.spec.served_model_name, "model")
    mount = _mount(winner)
    document: dict[str, Any] = {"services": {name: _service(winner)}}
    if mount.kind == "volume":
        document["volumes"] = {mount.source: {}}
    header = "".join(f"# {comment}\n" for comment in comments(winner))
    return header + to_yaml(_without_variables(document))


def comments(winner: Winner) -> Iterator[str]:
    yield winner.title
    if winner.model.on_host is None:
        yield f"Set {HUB_TOKEN} in your environment if the model asks for a token."
    if winner.spec.base_runtime is EngineName.LLAMACPP and winner.spec.runtime_image is None:
        image = _command(winner).image
        yield "Nobody publishes this image: build it in a checkout of llama.cpp, with"
        file = "cuda.Dockerfile" if winner.gpus else "cpu.Dockerfile"
        yield f"docker build --tag {image} --target server --file .devops/{file} ."


def _docker_words(winner: Winner) -> Iterator[list[str]]:
    command = _command(winner)
    yield ["docker", "run", "--rm"]
    if winner.gpus:
        # The inner quotes are for docker, which would split the value at its comma.
        yield ["--gpus", f'"device={",".join(_device_ids(winner))}"']
    if winner.engine.shares_host_memory:
        yield ["--ipc=host"]
        yield [f"--shm-size={SHARED_MEMORY}"]
    if winner.model.on_host is None:
        yield ["--env", HUB_TOKEN]
    yield ["--mount", _mount_option(_mount(winner))]
    yield ["--publish", PUBLISHED]
    if command.entrypoint is not None:
        yield ["--entrypoint", command.entrypoint]
    yield [command.image]
    yield from by_flag(command.arguments)


def _service(winner: Winner) -> dict[str, Any]:
    command, mount = _command(winner), _mount(winner)
    service: dict[str, Any] = {"image": command.image}
    if command.entrypoint is not None:
        service["entrypoint"] = [command.entrypoint]
    service["command"] = list(command.arguments)
    if winner.model.on_host is None:
        service["environment"] = [HUB_TOKEN]
    service["volumes"] = [
        {
            "type": mount.kind,
            "source": mount.source,
            "target": mount.target,
            **({"read_only": True} if mount.read_only else {}),
        }
    ]
    service["ports"] = [PUBLISHED]
    if winner.engine.shares_host_memory:
        service.update(ipc="host", shm_size=SHARED_MEMORY)
    if winner.gpus:
        service["deploy"] = {"resources": {"reservations": {"devices": [_devices(winner)]}}}
    service["restart"] = "unless-stopped"
    return service


def _command(winner: Winner) -> ContainerCommand:
    return winner.engine.container_command(
        winner.model.in_container,
        winner.spec.served_model_name,
        "0.0.0.0",
        PORT,
        winner.parameters,
        winner.engine.image_with_tag(
            winner.spec.runtime_image, winner.spec.runtime_image_tag, winner.gpus
        ),
    )


def _mount(winner: Winner) -> Mount:
    if winner.model.on_host is None:
        return Mount("volume", HUB_CACHE, HUB_CACHE_IN_CONTAINER, read_only=False)
    on_host, inside = str(winner.model.on_host), winner.model.in_container
    return Mount("bind", on_host, inside, read_only=True)


def _mount_option(mount: Mount) -> str:
    """The value of `--mount`, which docker reads as a line of CSV."""
    fields = [f"type={mount.kind}", f"source={mount.source}", f"target={mount.target}"]
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields + ["readonly"] * mount.read_only)
    return text.getvalue()


def _device_ids(winner: Winner) -> list[str]:
    return [str(number) for number in range(winner.gpus)]


def _devices(winner: Winner) -> dict[str, Any]:
    return {"driver": "nvidia", "device_ids": _device_ids(winner), "capabilities": ["gpu"]}


def _without_variables(value: Any) -> Any:
    """Compose puts variables into every text: a doubled `$` stands for itself."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_without_variables(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _without_variables(one) for key, one in value.items()}
    return value
