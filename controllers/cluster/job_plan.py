"""What a BenchmarkJob has to say so that OME can run it. Pure: asks no cluster.

Sources: OME v0.1.5, `pkg/controller/v1beta1/benchmark`. OME mounts the volume of the results at the
folder's own path. It gives genai-bench the model's directory as its tokenizer, and its pod a volume
with that directory, called as the model is. Not every version also mounts that volume, so the job
asks for the mount itself; OME merges mounts by their paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from controllers.base import BenchmarkPlan, DeploymentError
from controllers.cluster.documents import BenchmarkJobDocument, ReaderPodDocument, ServiceAddress
from controllers.cluster.objects import INFERENCE_SERVICE, Document
from controllers.cluster.settings import ClusterSettings
from tuning.domain.cluster_names import ClaimFolder
from tuning.domain.failures import FailureKind

_VOLUME_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_ENVIRONMENT: Mapping[str, str] = {
    "GENAI_BENCH_LOGGING_LEVEL": "INFO",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
    "PYTHONUNBUFFERED": "1",
    "PYTHONUTF8": "1",  # its log lines hold emoji, which a C locale could not print
}


def owner_of(service: Document) -> dict[str, Any]:
    """A reference to the engine's InferenceService, with which everything of its job goes."""
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "name": service["metadata"]["name"],
        "uid": service["metadata"]["uid"],
    }


def plan_job(
    plan: BenchmarkPlan,
    service: Document,
    model: Document,
    engine_pod: Document | None,
    storage: ClaimFolder,
    result_folder: str,
    settings: ClusterSettings,
) -> BenchmarkJobDocument:
    """One repeat of all load points of `plan`.

    `model` is the BaseModel or ClusterBaseModel that `service` serves. The job's pod goes to nodes
    to which that of the engine could go, for they have the model.

    Raises:
        DeploymentError: INVALID_SPEC. OME could not run such a job.
    """
    metadata = service["metadata"]
    selector = {**_pod_spec(engine_pod).get("nodeSelector", {}), **settings.node_selector}
    return BenchmarkJobDocument(
        name=metadata["name"],
        namespace=metadata["namespace"],
        address=ServiceAddress(metadata["name"], metadata["namespace"]),
        scenarios=plan.scenarios,
        concurrencies=plan.concurrencies,
        max_time_min=plan.max_time_per_point_min,
        max_requests=plan.max_requests_per_point,
        storage_uri=storage.uri,
        result_folder=result_folder,
        task=plan.task,
        image=settings.benchmark_image,
        env=_ENVIRONMENT,
        labels=metadata.get("labels") or {},
        node_selector=selector,
        tolerations=settings.tolerations or _pod_spec(engine_pod).get("tolerations", ()),
        affinity=_node_affinity(engine_pod),
        mounts=[_mount_of(model)],
    )


def plan_reader(
    service: Document, storage: ClaimFolder, name: str, settings: ClusterSettings
) -> ReaderPodDocument:
    """The pod that reads results; `ResultsReader` gives it its command."""
    return ReaderPodDocument(
        name=name,
        namespace=service["metadata"]["namespace"],
        image=settings.reader_image,
        command=(),
        claim=storage.claim,
        labels=service["metadata"].get("labels") or {},
        node_selector=settings.node_selector,
        tolerations=settings.tolerations,
    )


def _mount_of(model: Document) -> dict[str, Any]:
    name = model["metadata"]["name"]
    path = ((model.get("spec") or {}).get("storage") or {}).get("path")
    if not path:
        raise DeploymentError(
            FailureKind.INVALID_SPEC,
            f"The model {name} has no spec.storage.path, where OME's BenchmarkJobs look for its "
            'tokenizer; set ome.measuring to "direct".',
        )
    if _VOLUME_NAME.fullmatch(name) is None:
        raise DeploymentError(
            FailureKind.INVALID_SPEC,
            f"OME's BenchmarkJobs name a volume after the model, and {name} can't be a volume's "
            'name (no dots, at most 63 characters); set ome.measuring to "direct".',
        )
    return {"name": name, "mountPath": path, "readOnly": True}


def _pod_spec(pod: Document | None) -> Mapping[str, Any]:
    return (pod or {}).get("spec") or {}


def _node_affinity(pod: Document | None) -> dict[str, Any]:
    affinity = (_pod_spec(pod).get("affinity") or {}).get("nodeAffinity")
    return {"nodeAffinity": affinity} if affinity else {}
