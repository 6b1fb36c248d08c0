"""The images that the stand-in for a node knows. Everything else can't be pulled."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fake_engine.engine import SERVER
from tests.fake_engine.image import IMAGE, TAG

FAKE_ENGINE_IMAGE = f"{IMAGE}:{TAG}"
GENAI_BENCH_IMAGE = "genai-bench:test"
SHELL_IMAGE = "busybox:1.36"

_INSIDE = "/fake-image"
_PATH = f"{_INSIDE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GENAI_BENCH = Path(sys.executable).with_name("genai-bench")

_BIND_TO_THE_POD = '''\
"""A server on every address listens on its pod's: pods share a host's network here."""
import os
import socket

_bind = socket.socket.bind


def bind(self, address):
    if isinstance(address, tuple) and address[0] in ("", "0.0.0.0"):
        address = (os.environ["FAKE_POD_IP"], *address[1:])
    return _bind(self, address)


socket.socket.bind = bind
'''
_RUN_SERVER = "import runpy\nrunpy.run_path('/server.py', run_name='__main__')\n"
_MODULES = ("sglang/launch_server.py", "vllm/entrypoints/openai/api_server.py")
"""FakeEngine also takes the places of these."""


@dataclass(frozen=True)
class Image:
    """`command` runs where a container names none. `files` lie at their paths in the container."""

    command: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def standard_images(directory: Path) -> dict[str, Image]:
    """FakeEngine, genai-bench and a shell, by name and tag."""
    return {
        FAKE_ENGINE_IMAGE: _fake_engine(directory / "fake-engine"),
        GENAI_BENCH_IMAGE: _genai_bench(directory / "genai-bench"),
        SHELL_IMAGE: Image(("sh",), environment={"PATH": _PATH}),
    }


def without_registry(name: str) -> str:
    """Without the tests' registry or a library's name, and `latest` without a tag."""
    name = name.removeprefix("host.example/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _fake_engine(directory: Path) -> Image:
    python = directory / "python"
    for name in _MODULES:
        module = python / name
        module.parent.mkdir(parents=True)
        module.write_text(_RUN_SERVER)
    (python / "sitecustomize.py").write_text(_BIND_TO_THE_POD)
    _program(directory / "bin" / "python3", f'exec {sys.executable} "$@"')
    _program(directory / "app" / "llama-server", f'exec {sys.executable} /server.py "$@"')
    return Image(
        ("python3", "/server.py"),
        {"/server.py": SERVER, _INSIDE: directory, "/app": directory / "app"},
        {"PATH": _PATH, "PYTHONPATH": f"{_INSIDE}/python", "PYTHONUNBUFFERED": "1"},
    )


def _genai_bench(directory: Path) -> Image:
    _program(directory / "bin" / "genai-bench", f'exec {_GENAI_BENCH} "$@"')
    environment = {"PATH": _PATH, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return Image(("genai-bench",), {_INSIDE: directory}, environment)


def _program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
