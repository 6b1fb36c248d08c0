"""Engines as processes of this host: one that a test scripts, and what a deployment left of it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil

from controllers.base import Deployment, DeploymentIdentity
from controllers.engines.base import ContainerCommand, Engine, KnownFlag, LocalCommand
from controllers.local import LocalController
from tests.controllers.conftest import PORT_RANGE
from tuning.domain.failures import Failure
from tuning.domain.names import EngineName, FlagValue


class ScriptEngine(Engine):
    """An engine that is a few lines of Python, its port in `port`."""

    name = EngineName.LLAMACPP
    reserved_flags = frozenset({"port"})
    known_flags: Mapping[str, KnownFlag] = {}

    def __init__(self, script: str, program: str = sys.executable) -> None:
        self._script = textwrap.dedent(script)
        self._program = program

    def locate_model(self, model: str, models_dir: Path) -> str:
        return model

    def local_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
    ) -> LocalCommand:
        script = f"import os, signal, sys, time\nport = {port}\n{self._script}"
        return LocalCommand((self._program, "-c", script, *self.flags(parameters)))

    def container_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
        *others: str | None,
    ) -> ContainerCommand:
        raise NotImplementedError("only ever a process of this host")

    def missing(self) -> Failure | None:
        return None

    def version(self) -> str | None:
        return None


def scripted(runtime_dir: Path, script: str, polite_s: float = 0.3) -> LocalController:
    engines: Mapping[EngineName, Engine] = {EngineName.LLAMACPP: ScriptEngine(script)}
    return LocalController(runtime_dir, runtime_dir, PORT_RANGE, engines, polite_s)


def port_of(deployment: Deployment) -> int:
    return httpx.URL(deployment.base_url).port or 0


def pid_of(runtime_dir: Path, identity: DeploymentIdentity) -> int:
    return int(json.loads((runtime_dir / f"{identity.name}.json").read_text())["pid"])


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
