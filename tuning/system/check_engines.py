"""Checks of engines and of the places they can run in. None of these has to be there."""

from __future__ import annotations

import functools
import shutil
import subprocess

from django.conf import settings

from controllers.docker_engine import DockerEngine, DockerUnavailable, docker_address
from controllers.engines.catalogue import engine
from controllers.gpus import read_gpus
from tuning.domain.names import EngineName
from tuning.system.check import TIME_LIMIT_S, Finding, Probe, missing, ok, warning

ASK_S = TIME_LIMIT_S - 0.5

_HOW_TO_INSTALL = {
    EngineName.LLAMACPP: "`pip install xllamacpp` brings the embedded server.",
    EngineName.VLLM: "Install vllm into this environment if you want to tune it on this host.",
    EngineName.SGLANG: "Install sglang into this environment if you want to tune it on this host.",
}


def engine_found(name: EngineName) -> Finding:
    wanted = engine(name, settings.AUTOTUNER_LLAMA_SERVER)
    failure = wanted.missing()
    if failure is None:
        return ok(wanted.version() or "found, version unknown")
    if name is EngineName.LLAMACPP and settings.AUTOTUNER_LLAMA_SERVER:
        return missing(failure.message, "Mend AUTOTUNER_LLAMA_SERVER, or leave it out.")
    return warning(f"not available: {failure.message}", _HOW_TO_INSTALL[name])


def gpus() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return warning(
            "not available: no nvidia-smi on the PATH",
            "Engines run on the CPU. For GPUs of NVIDIA, install their driver.",
        )
    done = subprocess.run(
        [program, "-L"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=ASK_S,
        check=False,
    )
    names = [_without_uuid(line) for line in done.stdout.splitlines() if line.startswith("GPU ")]
    if done.returncode == 0 and names:
        return ok(", ".join(names))
    said = " ".join((done.stdout + done.stderr).split()) or f"exit code {done.returncode}"
    return warning(
        f"not available: nvidia-smi says {said}", "Driver and kernel may not match: reboot."
    )


def docker() -> Finding:
    """Whether the engine answers, and whether it can give containers the GPUs of this host."""
    address = docker_address()
    if address is None:
        return warning(
            "not available: neither DOCKER_HOST nor a socket of Docker",
            "Install Docker if you want to tune engines in containers.",
        )
    try:
        facts = DockerEngine(address).facts()
    except DockerUnavailable as error:
        return warning(f"not available: {address}: {error}", error.hint)
    found = f"{facts.version} at {address}"
    if facts.gpus:
        return ok(f"{found}, GPUs by {facts.gpus}")
    if read_gpus().gpus:
        return warning(
            f"{found}, which knows no runtime for this host's GPUs",
            "Install the NVIDIA Container Toolkit, then "
            "`nvidia-ctk runtime configure --runtime=docker` and restart Docker.",
        )
    return ok(f"{found}, no GPUs")


def _without_uuid(line: str) -> str:
    """`GPU 0: NVIDIA H200` of `GPU 0: NVIDIA H200 (UUID: GPU-…)`."""
    return line.partition(" (UUID")[0].strip()


ENGINE_PROBES = (
    *(Probe(name.value, functools.partial(engine_found, name)) for name in EngineName),
    Probe("GPUs", gpus),
)
PLATFORM_PROBES = (Probe("Docker", docker),)
