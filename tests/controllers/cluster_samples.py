"""Objects of OME for tests: runtimes shaped as OME's own are, and each kind of document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controllers.base import DeploymentIdentity, DeploymentRequest
from controllers.cluster.documents import (
    BaseModelDocument,
    BenchmarkJobDocument,
    InferenceServiceDocument,
    ModelReference,
    ReaderPodDocument,
    RuntimeReference,
    ServerFacts,
    ServiceAddress,
    ServingRuntimeDocument,
    UrlAddress,
)
from controllers.cluster.manifests import Manifests
from controllers.cluster.settings import TEMPLATES_DIR
from tuning.domain.names import EngineName, FlagValue

MANIFESTS = Manifests(TEMPLATES_DIR)
FULL_CRDS = Path(__file__).resolve().parents[3] / "shared" / "ome-crds"
"""OME's own CustomResourceDefinitions, where they are at hand."""

SGLANG_COMMAND = [
    *("python3", "-m", "sglang.launch_server", "--host", "0.0.0.0", "--port", "8080"),
    *("--enable-metrics", "--model-path", "$(MODEL_PATH)", "--tp-size", "4"),
    *("--mem-frac", "0.9", "--served-model-name", "meta-llama/Llama-3.1-70B-Instruct"),
]
VLLM_ARGS = [
    *("$(MODEL_PATH)", "--port", "8080", "--served-model-name", "vllm-model"),
    *("--tensor-parallel-size", "1", "--max-model-len=32768", "--gpu_memory_utilization", "0.9"),
]
VLLM_SCRIPT = """\
python3 -m vllm.entrypoints.openai.api_server \\
  --port=8080 \\
  --model="$MODEL_PATH" \\
  --served-model-name=vllm-model \\
  --tensor-parallel-size=4 \\
  --max-model-len=131072 \\
  --enable-chunked-prefill
"""


def runtime_document(
    name: str = "srt-llama-3-1-70b",
    command: Sequence[str] | None = SGLANG_COMMAND,
    args: Sequence[str] | None = None,
    *,
    kind: str = "ClusterServingRuntime",
    image: str | None = "registry.example/lmsysorg/sglang:v0.5.5",
    gpus: int = 4,
    spec: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    quantity = {"cpu": "10", "memory": "160Gi", "nvidia.com/gpu": gpus}
    runner = {
        "name": "ome-container",
        "image": image,
        "command": command and list(command),
        "args": args and list(args),
        "ports": [{"containerPort": 8080, "name": "http1", "protocol": "TCP"}],
        "resources": {"requests": quantity, "limits": quantity},
    }
    metadata = {"name": name, **({"namespace": "team"} if kind == "ServingRuntime" else {})}
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": kind,
        "metadata": metadata,
        "spec": {
            "supportedModelFormats": [supported()],
            "protocolVersions": ["openAI"],
            "engineConfig": {
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "volumes": [{"name": "dshm", "emptyDir": {"medium": "Memory"}}],
                "runner": {key: item for key, item in runner.items() if item is not None},
                **(config or {}),
            },
            **(spec or {}),
        },
    }


def old_runtime_document(name: str = "vllm-llama-3-1-70b") -> dict[str, Any]:
    """As OME's were before there was an `engineConfig`."""
    document = runtime_document(
        name, ["/bin/bash", "-lc", "--"], [VLLM_SCRIPT], image="vllm/vllm-openai:v0.9.0"
    )
    config = document["spec"].pop("engineConfig")
    container = config.pop("runner")
    document["spec"].update(config, containers=[container])
    return document


def supported(**more: Any) -> dict[str, Any]:
    """One entry of `supportedModelFormats`."""
    return {
        "modelFormat": {"name": "safetensors", "version": "1.0.0"},
        "modelFramework": {"name": "transformers", "version": "4.43.0"},
        "modelArchitecture": "LlamaForCausalLM",
        "autoSelect": True,
        "priority": 1,
        **more,
    }


def model_document(
    name: str = "llama-3-1-70b-instruct", kind: str = "ClusterBaseModel", **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "ome.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "displayName": f"meta.{name}",
            "modelFormat": {"name": "safetensors", "version": "1.0.0"},
            "modelFramework": {"name": "transformers", "version": "4.43.0"},
            "modelArchitecture": "LlamaForCausalLM",
            "modelParameterSize": "70.6B",
            "storage": {"storageUri": "hf://meta-llama/Llama-3.1-70B-Instruct"},
            **spec,
        },
    }


def request(
    parameters: Mapping[str, FlagValue] | None = None,
    *,
    engine: EngineName = EngineName.SGLANG,
    **more: Any,
) -> DeploymentRequest:
    return DeploymentRequest(
        **{
            "identity": DeploymentIdentity("abc", 17, 204, 1),
            "engine": engine,
            "model": "meta-llama/Llama-3.1-70B-Instruct",
            "served_model_name": "llama",
            "parameters": parameters or {},
            "namespace": "team",
            **more,
        }
    )


LABELS = {"autotuner/instance": "abc", "autotuner/task": "17"}
TOLERATIONS = (
    {"key": "nvidia.com/gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute"},
)
NODES = {"node.kubernetes.io/instance-type": "p5.48xlarge"}
PLACE: dict[str, Any] = {"labels": LABELS, "node_selector": NODES, "tolerations": TOLERATIONS}

SERVICE = InferenceServiceDocument(
    "service",
    "team",
    ModelReference("m"),
    RuntimeReference("r"),
    ["--a"],
    2,
    grace_s=10,
    env={"PROTOCOL_VERSION": "vllm"},
    **PLACE,
)
JOB = BenchmarkJobDocument(
    "job",
    "team",
    UrlAddress("http://service-engine.team:8080", "llama"),
    ["D(100,100)", "N(480,240)/(300,150)"],
    [1, 4],
    10,
    100,
    "pvc://results/autotuner",
    "t17",
    server=ServerFacts("SGLang", "v0.5.5", "H100", 4),
    request_params={"temperature": "0.0"},
    hub_secret="hf-token",
    image="registry.example/moirai-internal/genai-bench:0.0.5",
    env={"NO_PROXY": "*"},
    **PLACE,
)
DOCUMENTS = {
    "service": SERVICE,
    "bare-service": InferenceServiceDocument(
        "service", "team", ModelReference("m"), RuntimeReference("r"), None
    ),
    "runtime": ServingRuntimeDocument("own", runtime_document()["spec"], "team", LABELS),
    "cluster-runtime": ServingRuntimeDocument("shared", runtime_document()["spec"]),
    "model": BaseModelDocument(
        "m", "org/M", "hf://org/M", "team", "/mnt/data/m", "hf-token", LABELS, NODES
    ),
    "cluster-model": BaseModelDocument("m", "org/M", "pvc://team:models/org/M"),
    "job": JOB,
    "bare-job": BenchmarkJobDocument(
        "job", "team", ServiceAddress("s", "team"), ["D(1,1)"], [1], 1, 1, "pvc://a/b", "f"
    ),
    "reader": ReaderPodDocument(
        "reader", "team", "busybox:1.36", ["sh", "-c", "tar -c ."], "results", **PLACE
    ),
}
