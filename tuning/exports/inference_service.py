"""The winner as an InferenceService of OME, the model operator for Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from tuning.domain.names import EngineName
from tuning.exports.names import dns_name
from tuning.exports.winner import Winner
from tuning.exports.yaml_text import to_yaml

LONGEST_SERVICE_NAME = 50
"""OME makes names of its own from it, such as `<name>-engine`, which have 63 characters too."""
RUNNER = "ome-container"
_RUNTIME_PREFIXES = {EngineName.SGLANG: "srt", EngineName.VLLM: "vllm"}
"""How the names of the runtimes that come with OME begin."""


def inference_service(winner: Winner) -> str:
    header = "".join(f"# {comment}\n" for comment in _comments(winner))
    return header + to_yaml(_document(winner))


def _comments(winner: Winner) -> Iterator[str]:
    yield winner.title
    yield "The names of model and runtime differ between clusters; to see those of yours:"
    yield "  kubectl get clusterbasemodels,clusterservingruntimes"
    yield "The args come after the runtime's own command, so a flag given here wins. If the runtime"
    yield "has args of its own, add them: this list replaces them."
    if winner.spec.base_runtime is EngineName.LLAMACPP:
        yield "OME brings no runtime for llama.cpp: make one first."


def _document(winner: Winner) -> dict[str, Any]:
    model = _model_name(winner)
    engine = winner.spec.base_runtime
    prefix = _RUNTIME_PREFIXES.get(engine, engine.value)
    name = dns_name(winner.task.name, f"task-{winner.task.pk}", LONGEST_SERVICE_NAME)
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": dns_name(winner.spec.model.namespace, "autotuner"),
        },
        "spec": {
            "model": {"name": model, "kind": "ClusterBaseModel"},
            "runtime": {
                "name": dns_name(f"{prefix}-{model}", prefix),
                "kind": "ClusterServingRuntime",
            },
            "engine": {"minReplicas": 1, "maxReplicas": 1, "runner": _runner(winner)},
        },
    }


def _runner(winner: Winner) -> dict[str, Any]:
    # Kubernetes replaces `$(NAME)` in args; a doubled `$` stands for itself.
    flags = winner.engine.flags(winner.parameters)
    runner: dict[str, Any] = {"name": RUNNER, "args": [flag.replace("$", "$$") for flag in flags]}
    if winner.gpus:
        gpus = {"nvidia.com/gpu": str(winner.gpus)}
        runner["resources"] = {"requests": gpus, "limits": gpus}
    return runner


def _model_name(winner: Winner) -> str:
    """As OME names its models: the last part of the hub id, in small letters."""
    name = PurePosixPath(winner.spec.model.id_or_path).name
    return dns_name(name.removesuffix(".gguf"), "model")
