"""How a task's model is known to a cluster, or made known to it.

Sources: the CustomResourceDefinitions BaseModel and ClusterBaseModel of ome.io/v1beta1; OME's pages
"Base models" and "Serve models from a PVC".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from controllers.base import DeploymentError, DeploymentRequest
from controllers.cluster.documents import BaseModelDocument, ModelKind, ModelReference
from controllers.cluster.manifests import Manifests, UnrenderableValue
from controllers.cluster.object_rules import LONGEST_LABEL
from controllers.cluster.settings import ModelSource, ModelStorage
from tuning.domain.failures import FailureKind

DEFAULT_NAMESPACE = "autotuner"


def cluster_name(model: str) -> str:
    """What OME's own models are called: `meta-llama/Llama-3.1-8B` is `llama-3-1-8b`."""
    last_part = PurePosixPath(model).name.removesuffix(".gguf")
    name = re.sub(r"[^a-z0-9]+", "-", last_part.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"model-{name}"
    return name[:LONGEST_LABEL].strip("-")


def find_model(documents: Iterable[Mapping[str, Any]], wanted: str) -> Mapping[str, Any] | None:
    """The ClusterBaseModel or BaseModel that a task's model means: by its name in the cluster, the
    hub id that it is fetched from, or its display name; a name of the cluster goes first.

    `documents` are the ClusterBaseModels and the BaseModels of the task's namespace, of which the
    latter are nearer.
    """
    nearest_first = sorted(documents, key=lambda one: one["kind"] != ModelKind.NAMESPACED)

    def means(one: Mapping[str, Any]) -> list[bool]:
        spec = one.get("spec") or {}
        uri = str((spec.get("storage") or {}).get("storageUri", ""))
        is_hub_id = uri.partition("@")[0] == f"hf://{wanted}"
        name = one["metadata"]["name"]
        return [
            name == wanted,
            is_hub_id,
            spec.get("displayName") == wanted,
            name == cluster_name(wanted),
        ]

    for ways in zip(*map(means, nearest_first), strict=True):
        found = next((one for one, fits in zip(nearest_first, ways, strict=True) if fits), None)
        if found is not None:
            return found
    return None


def model_reference(document: Mapping[str, Any]) -> ModelReference:
    return ModelReference(document["metadata"]["name"], ModelKind(document["kind"]))


def plan_model(
    request: DeploymentRequest, storage: ModelStorage, manifests: Manifests
) -> dict[str, Any]:
    """A BaseModel in the request's namespace for a hub id that the cluster does not know.

    It is the installation's and no deployment's: it stays, as the weights do that OME has fetched.

    Raises:
        DeploymentError: INVALID_SPEC, with what is wrong and where.
    """
    name = cluster_name(request.model)
    if storage.source is ModelSource.CLAIM:
        folder = PurePosixPath(storage.folder.strip("/")) / request.model.strip("/")
        uri, path, secret = f"pvc://{storage.claim}/{folder}", None, None
    else:
        uri = f"hf://{request.model}"
        path, secret = str(PurePosixPath(storage.directory) / name), storage.secret
    document = BaseModelDocument(
        name=name,
        display_name=request.model,
        storage_uri=uri,
        namespace=request.namespace or DEFAULT_NAMESPACE,
        path=path,
        secret=secret,
        labels={"autotuner/instance": request.identity.instance},
    )
    try:
        return document.document(manifests)
    except UnrenderableValue as error:
        raise DeploymentError(FailureKind.INVALID_SPEC, str(error)) from error
