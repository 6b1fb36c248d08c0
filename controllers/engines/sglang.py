"""SGLang, where it is installed on this host: `python -m sglang.launch_server`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from controllers.engines.base import (
    ContainerCommand,
    Engine,
    KnownFlag,
    LocalCommand,
    count_of,
    symptom,
)
from controllers.engines.model_files import locate_directory_or_hub_id
from controllers.engines.python_package import by_name, installed_version
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue

# Meanings and defaults: "Server Arguments" in the documentation of SGLang.
_KNOWN_FLAGS = by_name(
    KnownFlag("tp-size", "GPUs that share each layer of the model", "1"),
    KnownFlag("dp-size", "copies of the model behind one address", "1"),
    KnownFlag(
        "enable-dp-attention",
        "the dp-size groups share the GPUs of tp-size: attention is split by requests",
        "off",
    ),
    KnownFlag("pp-size", "groups of GPUs that share the layers among them", "1"),
    KnownFlag(
        "mem-fraction-static",
        "share of the memory for weights and KV cache, from 0 to 1; lower it when memory runs out",
        "by model and hardware",
    ),
    KnownFlag("max-running-requests", "most requests computed at the same time", "by memory"),
    KnownFlag("max-total-tokens", "most tokens in the KV cache", "by mem-fraction-static"),
    KnownFlag(
        "chunked-prefill-size",
        "most tokens of a prompt computed at once; -1 never splits a prompt",
        "by hardware",
    ),
    KnownFlag("max-prefill-tokens", "most tokens in one batch of prompts", "16384"),
    KnownFlag(
        "schedule-policy",
        "which waiting request comes next",
        "fcfs",
        ("lpm", "random", "fcfs", "dfs-weight", "lof", "priority", "routing-key"),
    ),
    KnownFlag(
        "schedule-conservativeness",
        "higher takes fewer requests at once; raise it when requests are often retracted",
        "1.0",
    ),
    KnownFlag("context-length", "most tokens in one request, prompt and answer", "the model's own"),
    KnownFlag(
        "kv-cache-dtype",
        "data type of the KV cache",
        "auto",
        ("auto", "fp8_e5m2", "fp8_e4m3", "bf16", "bfloat16", "fp4_e2m1"),
    ),
    KnownFlag("page-size", "tokens in one page of the KV cache", "1"),
    KnownFlag("stream-interval", "tokens sent to a client at once", "1"),
    KnownFlag("disable-radix-cache", "don't keep common beginnings of prompts", "off"),
)


_TP = ("tp-size", "tensor-parallel-size")
_PP = ("pp-size", "pipeline-parallel-size")
_DP = ("dp-size", "data-parallel-size")
_DP_ATTENTION = "enable-dp-attention"


class Sglang(Engine):
    """Serves what SGLang takes: a model directory or a hub id."""

    name = EngineName.SGLANG
    image = "lmsysorg/sglang"
    default_image_tag = "latest"
    shares_host_memory = True
    gpu_flags = frozenset({*_TP, *_PP, *_DP, _DP_ATTENTION})
    reserved_flags = frozenset({"model-path", "model", "served-model-name", "host", "port"})
    extra_symptoms = (
        symptom(
            FailureKind.OUT_OF_MEMORY,
            r"try to increase --mem-fraction-static",
            r"try reducing --mem-fraction-static",
        ),
    )

    @property
    def known_flags(self) -> Mapping[str, KnownFlag]:
        return _KNOWN_FLAGS

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
        image_tag: str | None = None,
    ) -> ContainerCommand:
        own = _own_arguments(model, served_model_name, host, port)
        arguments = ("python3", *own, *self.flags(parameters))
        return ContainerCommand(self.image_with_tag(image_tag), None, arguments)

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
