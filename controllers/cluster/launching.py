"""Making the objects of one engine in a cluster: all of them, or none."""

from __future__ import annotations

import logging
from contextlib import suppress

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.base import DeploymentError, DeploymentIdentity, Tick
from controllers.cluster.connection import asking
from controllers.cluster.objects import (
    BASE_MODEL,
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    Document,
    ObjectKind,
    create,
    find,
    patch,
)
from controllers.cluster.offer import Planned
from controllers.cluster.removal import remove

CONFLICT = 409

logger = logging.getLogger(__name__)


def launch(
    client: ApiClient,
    planned: Planned,
    identity: DeploymentIdentity,
    namespace: str,
    polite_s: float,
    tick: Tick,
) -> Document:
    """The InferenceService as the cluster has stored it; what an earlier crash left is replaced.

    Raises:
        DeploymentError: the cluster refuses it. As with anything else that is raised, also by
            `tick`, nothing is left then but a model that was made: it is no engine's own.
    """
    try:
        with asking(client, f"make the InferenceService {identity.name} in {namespace}"):
            try:
                return _create_all(client, planned, namespace)
            except ApiException as error:
                if error.status != CONFLICT or not _is_left_over(client, identity, namespace):
                    raise
            remove(client, identity, namespace, polite_s, tick)
            return _create_all(client, planned, namespace)
    except BaseException:
        # Also what a request made whose answer never came.
        with suppress(DeploymentError):
            remove(client, identity, namespace, polite_s)
        raise


def _create_all(client: ApiClient, planned: Planned, namespace: str) -> Document:
    plan = planned.plan
    if planned.new_model is not None:
        _create_model(client, planned.new_model, namespace)
    if plan.serving_runtime is not None:
        create(client, SERVING_RUNTIME, plan.serving_runtime, namespace)
    service = create(client, INFERENCE_SERVICE, plan.inference_service, namespace)
    if plan.serving_runtime is not None:
        # Made before the service that needs it, so that its owner is known only now.
        name = plan.serving_runtime["metadata"]["name"]
        owners = {"metadata": {"ownerReferences": [_as_owner(service)]}}
        patch(client, SERVING_RUNTIME, name, owners, namespace)
    return service


def _create_model(client: ApiClient, model: Document, namespace: str) -> None:
    try:
        create(client, BASE_MODEL, model, namespace)
    except ApiException as error:
        # Another experiment of the same task was quicker.
        if error.status != CONFLICT:
            raise


def _as_owner(service: Document) -> Document:
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.name,
        "name": service["metadata"]["name"],
        "uid": service["metadata"]["uid"],
    }


def _is_left_over(client: ApiClient, identity: DeploymentIdentity, namespace: str) -> bool:
    """Whether what has our name already bears our labels too; anything else is left alone."""

    def is_ours_or_nobodys(kind: ObjectKind) -> bool:
        found = find(client, kind, identity.name, namespace)
        labels = {} if found is None else found["metadata"].get("labels") or {}
        return found is None or DeploymentIdentity.of_labels(labels) == identity

    return all(is_ours_or_nobodys(kind) for kind in (INFERENCE_SERVICE, SERVING_RUNTIME))
