"""SGLang, where it is installed on this host: `python -m sglang.launch_server`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from controllers.engines.base import (
    ContainerCommand,
    Engine,
    LocalCommand,
    count_of,
    symptom,
)
from controllers.engines.flag_catalogue import DATA, read_catalogue
from controllers.engines.model_files import locate_directory_or_hub_id
from controllers.engines.python_package import installed_version
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue

CATALOGUE = read_catalogue(DATA / "sglang.toml")

_TP = ("tp-size", "tensor-parallel-size", "tp")
_PP = ("pp-size", "pipeline-parallel-size", "pp")
_DP = ("dp-size", "data-parallel-size", "dp")
_DP_ATTENTION = "enable-dp-attention"


class Sglang(Engine):
    """Serves what SGLang takes: a model directory or a hub id."""

    name = EngineName.SGLANG
    catalogue = CATALOGUE
    image = "lmsysorg/sglang"
    default_image_tag = "latest"
    shares_host_memory = True
    help_arguments = (("python3", "-m", "sglang.launch_server", "--help"),)
    gpu_flags = frozenset({*_TP, *_PP, *_DP, _DP_ATTENTION})
    reserved_flags = frozenset({"model-path", "model", "served-model-name", "host", "port"})
    extra_symptoms = (
        symptom(
            FailureKind.OUT_OF_MEMORY,
            r"try to increase --mem-fraction-static",
            r"try reducing --mem-fraction-static",
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
        own = _own_arguments(model, served_model_name, host, port)
        return LocalCommand((sys.executable, *own, *self.flags(parameters)))

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
        arguments = ("python3", *own, *self.flags(parameters))
        return ContainerCommand(image, None, arguments)

    def gpus_needed(self, parameters: Mapping[str, FlagValue]) -> int:
        """Data-parallel copies have their own GPUs, unless only attention is data-parallel."""
        one_copy = count_of(parameters, *_TP) * count_of(parameters, *_PP)
        shared = parameters.get(_DP_ATTENTION) is True
        return one_copy if shared else one_copy * count_of(parameters, *_DP)

    def missing(self) -> Failure | None:
        if importlib.util.find_spec("sglang"):
            return None
        return Failure(
            FailureKind.ENGINE_MISSING, "The package sglang is not installed for this Python."
        )

    def version(self) -> str | None:
        return installed_version("sglang")


def _own_arguments(model: str, served_model_name: str, host: str, port: int) -> tuple[str, ...]:
    module = ("-m", "sglang.launch_server", "--model-path", model)
    return (*module, "--served-model-name", served_model_name, "--host", host, "--port", str(port))
