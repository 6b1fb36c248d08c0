"""llama.cpp: a `llama-server` binary where there is one, else the embedded server."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from controllers.engines.base import (
    ContainerCommand,
    Engine,
    LocalCommand,
    quoted,
    symptom,
)
from controllers.engines.flag_catalogue import DATA, read_catalogue
from controllers.engines.llamacpp_flags import known_flags
from controllers.engines.model_files import locate_gguf
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue

EMBEDDED_SERVER = "controllers.engines.llamacpp_server"
PROJECT_ROOT = Path(__file__).resolve().parents[2]
VERSION_TIMEOUT_S = 5.0
CATALOGUE = read_catalogue(DATA / "llamacpp.toml", known_flags())

# On a failed assertion ggml would run a debugger for seconds and bury the reason in its output.
_ENVIRONMENT = {"GGML_NO_BACKTRACE": "1"}
_ASSERTION = re.compile(r"GGML_ASSERT|GGML_ABORT|ggml_abort")
_ERROR_LEVEL = re.compile(r"^\S+ E ")

_LAYERS = ("n-gpu-layers", "gpu-layers")
_LAYERS_IN_WORDS = frozenset({"auto", "all"})
_ON_DEVICES = "device"
_SPLIT = "tensor-split"
_NUMBERED_DEVICE = re.compile(r"[A-Za-z]+(\d+)")
_MODES_WITH_MAIN_GPU = frozenset({"none", "row"})


class LlamaCpp(Engine):
    """`llama_server_binary` names the binary to use; without it, PATH is searched for one."""

    name = EngineName.LLAMACPP
    catalogue = CATALOGUE
    # Nobody publishes an image under this name: it is built from the project's .devops directory.
    image = "llama.cpp"
    default_image_tag = "server"
    gpu_image_tag = "server-cuda"
    runs_without_gpus = True
    gpu_flags = frozenset({*_LAYERS, _ON_DEVICES, _SPLIT, "split-mode", "main-gpu"})
    help_arguments = (("--help",),)
    reserved_flags = frozenset(
        {"model", "m", "alias", "a", "host", "port", "hf-repo", "model-url", "docker-repo"}
    )
    extra_symptoms = (
        symptom(
            FailureKind.BAD_FLAG,
            r"quantized v cache requires flash_attn",
            r"v cache quantization requires flash_attn",
            r"SPLIT_MODE_\w+ needs",
        ),
    )

    def __init__(
        self,
        llama_server_binary: str | None = None,
        allowed_flags: Iterable[str] = (),
        *,
        checks_flags: bool = True,
    ) -> None:
        super().__init__(allowed_flags, checks_flags=checks_flags)
        self._configured_binary = llama_server_binary

    def locate_model(self, model: str, models_dir: Path) -> str:
        return str(locate_gguf(model, models_dir))

    def local_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
    ) -> LocalCommand:
        flags = self.flags(parameters)
        own = _own_arguments(model, served_model_name, host, port)
        binary = self._binary()
        if binary is not None:
            return LocalCommand((binary, *own, *flags), _ENVIRONMENT)
        # Run from the project's root, so that a user can copy the command and run it there too.
        program = (sys.executable, "-m", EMBEDDED_SERVER)
        return LocalCommand((*program, *own, *flags), _ENVIRONMENT, cwd=PROJECT_ROOT)

    def container_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
        image: str,
    ) -> ContainerCommand:
        own = _own_arguments(model, served_model_name, host, port)
        arguments = (*own, *self.flags(parameters))
        return ContainerCommand(image, "/app/llama-server", arguments)

    def missing(self) -> Failure | None:
        if self._configured_binary and not self._binary():
            return Failure(
                FailureKind.ENGINE_MISSING,
                f"The llama-server named in the settings, {self._configured_binary}, is no "
                "program that can be run.",
            )
        if self._binary() or importlib.util.find_spec("xllamacpp"):
            return None
        return Failure(
            FailureKind.ENGINE_MISSING,
            "Neither a llama-server on PATH nor the package xllamacpp is there; "
            "`pip install xllamacpp` brings the embedded server.",
        )

    def version(self) -> str | None:
        binary = self._binary()
        if binary is not None:
            return _binary_version(binary)
        try:
            return f"xllamacpp {importlib.metadata.version('xllamacpp')}"
        except importlib.metadata.PackageNotFoundError:
            return None

    def gpus_needed(self, parameters: Mapping[str, FlagValue]) -> int:
        """None unless layers are asked onto GPUs; then one, or as many as the flags tell apart.

        It counts the devices that it is given from 0, so that whoever names the device CUDA2 needs
        three (llama.cpp, "Using multiple GPUs with llama.cpp").
        """
        devices = _words(parameters, _ON_DEVICES)
        if devices == ["none"] or not _asks_for_gpus(parameters):
            return 0
        mode = str(parameters.get("split-mode", "layer"))
        numbers = [int(found[1]) for one in devices if (found := _NUMBERED_DEVICE.fullmatch(one))]
        highest = max(numbers, default=-1) + 1
        parts = 1 if mode == "none" else len(_words(parameters, _SPLIT))
        main = str(parameters.get("main-gpu", ""))
        first = int(main) + 1 if mode in _MODES_WITH_MAIN_GPU and main.isdecimal() else 1
        return max(1, len(devices), highest, parts, first)

    def telling_line(self, log_lines: Sequence[str]) -> str:
        """A failed assertion, else the first error: those that follow only pass it on."""
        for pattern in (_ASSERTION, _ERROR_LEVEL):
            for line in log_lines:
                if pattern.search(line):
                    return quoted(line)
        return super().telling_line(log_lines)

    def _binary(self) -> str | None:
        return shutil.which(self._configured_binary or "llama-server")


def _asks_for_gpus(parameters: Mapping[str, FlagValue]) -> bool:
    """By any number of layers but 0, or else by naming devices or their shares.

    Without such a flag a server with support for GPUs takes what it finds; it is given none.
    """
    for name in _LAYERS:
        value = parameters.get(name)
        if value is not None and not isinstance(value, bool):
            return str(value) in _LAYERS_IN_WORDS or _is_number_but_0(str(value))
    return bool(_words(parameters, _ON_DEVICES) or _words(parameters, _SPLIT))


def _is_number_but_0(text: str) -> bool:
    try:
        return int(text) != 0
    except ValueError:
        return False


def _words(parameters: Mapping[str, FlagValue], name: str) -> list[str]:
    """The parts of a flag's value, which commas (or slashes, between shares) separate."""
    value = parameters.get(name)
    if value is None or isinstance(value, bool):
        return []
    return [part.strip() for part in re.split("[,/]", str(value)) if part.strip()]


def _own_arguments(model: str, served_model_name: str, host: str, port: int) -> tuple[str, ...]:
    named = ("--model", model, "--alias", served_model_name)
    return (*named, "--host", host, "--port", str(port))


@functools.cache
def _binary_version(binary: str) -> str | None:
    """What `llama-server --version` says, such as `llama-server 6710 (abc1234)`."""
    try:
        done = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"^version:\s*(.+)$", done.stderr + "\n" + done.stdout, re.MULTILINE)
    return f"llama-server {found.group(1).strip()}" if found else None
