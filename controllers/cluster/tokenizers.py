"""The tokenizer of a model that a cluster knows, for genai-bench on this host."""

from __future__ import annotations

from controllers.base import DeploymentError
from controllers.cluster.connection import ClusterUnavailable, api_client, asking
from controllers.cluster.models import find_model
from controllers.cluster.objects import BASE_MODEL, CLUSTER_BASE_MODEL, list_objects
from controllers.cluster.settings import ClusterSettings
from tuning.domain.failures import FailureKind

_HUB = "hf://"


def hub_id(settings: ClusterSettings, model: str, namespace: str) -> str | None:
    """The hub id from which the cluster has the model; None where it has it from elsewhere.

    Raises:
        DeploymentError: MODEL_MISSING, or the cluster can't be asked.
    """
    try:
        client = api_client(settings)
    except ClusterUnavailable as error:
        raise DeploymentError(FailureKind.CLUSTER_UNAVAILABLE, str(error)) from error
    with asking(client, "read the cluster's models"):
        found = find_model(
            [
                *list_objects(client, CLUSTER_BASE_MODEL),
                *list_objects(client, BASE_MODEL, namespace),
            ],
            model,
        )
    if found is None:
        if "/" in model:
            return model
        raise DeploymentError(FailureKind.MODEL_MISSING, f"The cluster knows no model `{model}`.")
    uri = str(((found.get("spec") or {}).get("storage") or {}).get("storageUri") or "")
    return uri.removeprefix(_HUB).partition("@")[0] if uri.startswith(_HUB) else None
