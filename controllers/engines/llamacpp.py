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


class LlamaCpp(Engine):
    """`llama_server_binary` names the binary to use; without it, PATH is searched for one."""

    name = EngineName.LLAMACPP
    catalogue = CATALOGUE
    # Nobody publishes an image under this name: it is built from the project's .devops directory.
    image = "llama.cpp"
    default_image_tag = "server"
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

    def telling_line(self, log_lines: Sequence[str]) -> str:
        """A failed assertion, else the first error: those that follow only pass it on."""
        for pattern in (_ASSERTION, _ERROR_LEVEL):
            for line in log_lines:
                if pattern.search(line):
                    return quoted(line)
        return super().telling_line(log_lines)

    def _binary(self) -> str | None:
        return shutil.which(self._configured_binary or "llama-server")


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
