"""The objects that the autotuner makes in a cluster, each as one typed value.

`document(manifests)` gives what is sent, `text(manifests)` the same as YAML for `kubectl apply -f`;
both raise UnrenderableValue. Sources: the CustomResourceDefinitions of ome.io/v1beta1 (v0.1.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from controllers.cluster.manifests import Manifests

NVIDIA_GPU = "nvidia.com/gpu"


class RuntimeKind(StrEnum):
    NAMESPACED = "ServingRuntime"
    CLUSTER = "ClusterServingRuntime"


class ModelKind(StrEnum):
    NAMESPACED = "BaseModel"
    CLUSTER = "ClusterBaseModel"


@dataclass(frozen=True)
class ModelReference:
    name: str
    kind: ModelKind = ModelKind.CLUSTER


@dataclass(frozen=True)
class RuntimeReference:
    name: str
    kind: RuntimeKind = RuntimeKind.CLUSTER


class _Rendered:
    """An object whose fields, besides those of its template's own, are its template's values."""

    template: ClassVar[str]

    def _values(self) -> dict[str, Any]:
        return dict(vars(self))

    def document(self, manifests: Manifests) -> dict[str, Any]:
        return manifests.render(self.template, **self._values())

    def text(self, manifests: Manifests) -> str:
        return manifests.text(self.template, **self._values())


@dataclass(frozen=True)
class InferenceServiceDocument(_Rendered):
    """One engine. `args` are as Kubernetes reads them, where `$$` stands for `$`; None leaves the
    runtime's alone. `gpus` of 0 leaves the runtime's resources alone. `labels` are also the pod's.
    `grace_s` is how long the engine may take to stop, in seconds; None leaves that to the cluster.
    `env` are variables of the engine's container, besides the runtime's.
    """

    template: ClassVar[str] = "inference_service"

    name: str
    namespace: str
    model: ModelReference
    runtime: RuntimeReference
    args: Sequence[str] | None
    gpus: int = 0
    gpu_resource: str = NVIDIA_GPU
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    grace_s: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def _values(self) -> dict[str, Any]:
        # Quantities are texts: what the server gives back is one, whatever it was sent.
        quantity = str(self.gpus) if self.gpus else None
        model, runtime = vars(self.model), vars(self.runtime)
        env = [{"name": name, "value": value} for name, value in self.env.items()]
        return {**vars(self), "gpus": quantity, "model": model, "runtime": runtime, "env": env}


@dataclass(frozen=True)
class ServingRuntimeDocument(_Rendered):
    """How engines are run. `spec` is a ServingRuntimeSpec; a cluster's runtime has no namespace."""

    template: ClassVar[str] = "serving_runtime"

    name: str
    spec: Mapping[str, Any]
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def _values(self) -> dict[str, Any]:
        kind = RuntimeKind.CLUSTER if self.namespace is None else RuntimeKind.NAMESPACED
        return {**vars(self), "kind": kind}


@dataclass(frozen=True)
class BaseModelDocument(_Rendered):
    """Where a model's weights are: `hf://ORG/NAME`, `pvc://CLAIM/FOLDER` in a namespace, or
    `pvc://NAMESPACE:CLAIM/FOLDER` for a cluster's model, which has no namespace.

    `path` is where OME's agent puts a download on a node, which only downloads have. `secret` holds
    the hub's token. `node_selector` says which nodes are to keep a copy.
    """

    template: ClassVar[str] = "cluster_base_model"

    name: str
    display_name: str
    storage_uri: str
    namespace: str | None = None
    path: str | None = None
    secret: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)

    def _values(self) -> dict[str, Any]:
        kind = ModelKind.CLUSTER if self.namespace is None else ModelKind.NAMESPACED
        return {**vars(self), "kind": kind}


@dataclass(frozen=True)
class ServiceAddress:
    """An InferenceService that a BenchmarkJob asks OME for. OME then calls the model `vllm-model`,
    whatever the engine calls it."""

    name: str
    namespace: str


@dataclass(frozen=True)
class UrlAddress:
    """A server that a BenchmarkJob measures by its URL, with the model's name as clients send it.

    `api_format` is one of openai, oci-cohere, cohere.
    """

    url: str
    model_name: str
    api_format: str = "openai"


@dataclass(frozen=True)
class ServerFacts:
    """What genai-bench writes into its results of the server. `engine` is one of vLLM, SGLang, TGI;
    `gpu_type` one of H100, A100, MI300, A10. The server takes no others."""

    engine: str
    version: str
    gpu_type: str
    gpu_count: int


@dataclass(frozen=True)
class BenchmarkJobDocument(_Rendered):
    """genai-bench in the cluster. Times are minutes, as genai-bench counts them.

    `storage_uri` is where results go (`pvc://CLAIM/FOLDER`), into the folder `result_folder` there.
    `image` takes the place of OME's own. `env` and `mounts` are of the benchmark's container.
    """

    template: ClassVar[str] = "benchmark_job"

    name: str
    namespace: str
    address: ServiceAddress | UrlAddress
    scenarios: Sequence[str]
    concurrencies: Sequence[int]
    max_time_min: int
    max_requests: int
    storage_uri: str
    result_folder: str
    task: str = "text-to-text"
    server: ServerFacts | None = None
    request_params: Mapping[str, str] = field(default_factory=dict)
    hub_secret: str | None = None
    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    mounts: Sequence[Mapping[str, Any]] = ()

    def _values(self) -> dict[str, Any]:
        by_url = self.address if isinstance(self.address, UrlAddress) else None
        by_name = self.address if isinstance(self.address, ServiceAddress) else None
        return {
            "name": self.name,
            "namespace": self.namespace,
            "labels": self.labels,
            "url": by_url and by_url.url,
            "api_format": by_url and by_url.api_format,
            "model_name": by_url and by_url.model_name,
            "service": by_name and vars(by_name),
            "metadata": self.server and vars(self.server),
            "task": self.task,
            "scenarios": self.scenarios,
            "concurrencies": self.concurrencies,
            "max_time_min": self.max_time_min,
            "max_requests": self.max_requests,
            "request_params": self.request_params,
            "storage_uri": self.storage_uri,
            "result_folder": self.result_folder,
            "secret": self.hub_secret,
            "pod": self._pod(),
        }

    def _pod(self) -> dict[str, Any]:
        pod = {
            "image": self.image,
            "env": [{"name": name, "value": value} for name, value in self.env.items()],
            "nodeSelector": self.node_selector,
            "tolerations": self.tolerations,
            "affinity": self.affinity,
            "volumeMounts": self.mounts,
        }
        return {name: value for name, value in pod.items() if value}


@dataclass(frozen=True)
class ReaderPodDocument(_Rendered):
    """A short-lived pod that runs `command` with the volume of `claim` at `mount_path`, read-only.

    The cluster ends it after `deadline_s` seconds, also when nobody is left to delete it.
    """

    template: ClassVar[str] = "reader_pod"

    name: str
    namespace: str
    image: str
    command: Sequence[str]
    claim: str
    mount_path: str = "/results"
    deadline_s: int = 300
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
