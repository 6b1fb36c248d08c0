"""The winner as an InferenceService of OME, the model operator for Kubernetes.

The objects are made from the templates that OME mode itself deploys with. A winner that was
measured in a cluster is written with the very objects that were measured there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from controllers.base import DeploymentError
from controllers.cluster.documents import (
    NVIDIA_GPU,
    InferenceServiceDocument,
    ModelKind,
    ModelReference,
    RuntimeKind,
    RuntimeReference,
    ServingRuntimeDocument,
)
from controllers.cluster.flag_placement import check_argument, kubernetes_argument
from controllers.cluster.manifests import Manifests, UnrenderableValue
from controllers.cluster.models import cluster_name
from controllers.cluster.service_plan import LONGEST_SERVICE_NAME
from controllers.cluster.settings import TEMPLATES_DIR
from tuning.domain.names import EngineName
from tuning.exports.names import dns_name
from tuning.exports.winner import Winner

LONGEST_NAME = min(50, LONGEST_SERVICE_NAME)
_LINE_ENDS = re.compile(r"[^\S ]+")
_RUNTIME_PREFIXES = {EngineName.SGLANG: "srt", EngineName.VLLM: "vllm"}
"""How the names of the runtimes that come with OME begin."""


def inference_service(winner: Winner) -> str:
    """YAML for `kubectl apply -f`; only comments, which say why, where OME can't be given it."""
    try:
        measured = _measured(winner)
        text = _guessed_text(winner) if measured is None else _measured_text(winner, *measured)
    except (DeploymentError, UnrenderableValue) as error:
        return _commented(winner.title, f"OME can't be given this configuration: {error}")
    comments = _of_a_guess(winner) if measured is None else _of_the_measured(measured[0])
    return _commented(winner.title, *comments) + text


def _of_the_measured(service: Mapping[str, Any]) -> Iterator[str]:
    yield "What was measured, under another name and without the autotuner's labels."
    model, runtime = service["spec"]["model"], service["spec"]["runtime"]
    yield f"It needs the {model['kind']} {model['name']} of the cluster where it was measured."
    if runtime["kind"] == RuntimeKind.CLUSTER:
        yield f"It needs that cluster's runtime {runtime['name']} too, as it was then."


def _of_a_guess(winner: Winner) -> Iterator[str]:
    yield "The names of model and runtime differ between clusters; to see those of yours:"
    yield "  kubectl get clusterbasemodels,clusterservingruntimes"
    yield "The args come after the runtime's own command, so a flag given here wins. If the runtime"
    yield "has args of its own, add them: this list replaces them."
    if winner.spec.base_runtime is EngineName.LLAMACPP:
        yield "OME brings no runtime for llama.cpp: make one first."


def _commented(*lines: str) -> str:
    return "".join(f"# {_LINE_ENDS.sub(' ', line)}\n" for line in lines)


def _measured(winner: Winner) -> tuple[Mapping[str, Any], Mapping[str, Any] | None] | None:
    """The InferenceService that was measured, and the ServingRuntime that was made for it."""
    manifests = winner.experiment.environment.get("manifests") or ()
    by_kind = {one["kind"]: one for one in manifests}
    if "InferenceService" not in by_kind:
        return None
    return by_kind["InferenceService"], by_kind.get(RuntimeKind.NAMESPACED)


def _measured_text(
    winner: Winner, service: Mapping[str, Any], runtime: Mapping[str, Any] | None
) -> str:
    name, namespace = _name(winner), service["metadata"]["namespace"]
    spec, engine = service["spec"], service["spec"]["engine"]
    limits = (engine["runner"].get("resources") or {}).get("limits") or {}
    gpu_resource, gpus = next(iter(limits.items()), (NVIDIA_GPU, 0))
    used = RuntimeReference(spec["runtime"]["name"], RuntimeKind(spec["runtime"]["kind"]))
    before = ""
    if runtime is not None:
        used = RuntimeReference(f"{name}-runtime", RuntimeKind.NAMESPACED)
        own = ServingRuntimeDocument(used.name, runtime["spec"], namespace)
        before = f"{own.text(_manifests())}---\n"
    return before + InferenceServiceDocument(
        name=name,
        namespace=namespace,
        model=ModelReference(spec["model"]["name"], ModelKind(spec["model"]["kind"])),
        runtime=used,
        args=engine["runner"].get("args"),
        gpus=int(gpus),
        gpu_resource=gpu_resource,
        node_selector=engine.get("nodeSelector") or {},
        tolerations=engine.get("tolerations") or (),
    ).text(_manifests())


def _guessed_text(winner: Winner) -> str:
    """With the names that OME's own models and runtimes have."""
    engine = winner.spec.base_runtime
    prefix = _RUNTIME_PREFIXES.get(engine, engine.value)
    model = cluster_name(winner.spec.model.id_or_path)
    for name, value in winner.parameters.items():
        check_argument(name, str(value))
    flags = winner.engine.flags(winner.parameters)
    service = InferenceServiceDocument(
        name=_name(winner),
        namespace=dns_name(winner.spec.model.namespace, "autotuner"),
        model=ModelReference(model),
        runtime=RuntimeReference(dns_name(f"{prefix}-{model}", prefix)),
        args=[kubernetes_argument(flag) for flag in flags],
        gpus=winner.gpus,
    )
    return service.text(_manifests())


def _name(winner: Winner) -> str:
    return dns_name(winner.task.name, f"task-{winner.task.pk}", LONGEST_NAME)


@functools.cache
def _manifests() -> Manifests:
    return Manifests(TEMPLATES_DIR)
