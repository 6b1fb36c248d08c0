"""What a cluster offers to a task: whether OME is there, which models and runtimes it knows."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.base import DeploymentError, DeploymentRequest
from controllers.cluster.connection import asking, version_of
from controllers.cluster.manifests import Manifests
from controllers.cluster.models import DEFAULT_NAMESPACE, find_model, model_reference, plan_model
from controllers.cluster.objects import (
    BASE_MODEL,
    CLUSTER_BASE_MODEL,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    NAMESPACE,
    SERVING_RUNTIME,
    Document,
    create,
    find,
    list_objects,
)
from controllers.cluster.runtimes import choose_runtime
from controllers.cluster.service_plan import ServicePlan, plan_service
from controllers.cluster.settings import ClusterSettings
from controllers.engines.base import Engine
from tuning.domain.failures import FailureKind

MOST_NAMES = 8
OME_NAMESPACE = "ome"
OME_CONTROLLER = "control-plane=ome-controller-manager"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """What to make for a request. `gpu_resource` is what the cluster calls the GPUs of the plan.
    `new_model` is a BaseModel that has to be made before, or None where the cluster knows one."""

    plan: ServicePlan
    gpu_resource: str
    new_model: Document | None = None


def namespace_of(request: DeploymentRequest) -> str:
    return request.namespace or DEFAULT_NAMESPACE


def planned(
    client: ApiClient,
    request: DeploymentRequest,
    engine: Engine,
    settings: ClusterSettings,
    manifests: Manifests,
) -> Planned:
    """The objects that serve `request`, with the models and runtimes that the cluster has now.

    Raises:
        DeploymentError: MODEL_MISSING or INVALID_SPEC with the names that exist, BAD_FLAG, or
            whatever keeps us from reading them.
    """
    namespace = namespace_of(request)
    with asking(client, "read the cluster's models"):
        models = [
            *list_objects(client, CLUSTER_BASE_MODEL),
            *list_objects(client, BASE_MODEL, namespace),
        ]
    with asking(client, "read the cluster's serving runtimes"):
        runtimes = [
            *list_objects(client, CLUSTER_SERVING_RUNTIME),
            *list_objects(client, SERVING_RUNTIME, namespace),
        ]
    known = find_model(models, request.model)
    model = known or _new_model(request, settings, manifests, models)
    lasting = [one for one in runtimes if not _is_made_for_an_engine(one)]
    runtime = choose_runtime(lasting, model, engine, request.runtime)
    plan = plan_service(request, engine, runtime, settings, manifests, model_reference(model))
    return Planned(plan, runtime.gpu_resource, dict(model) if known is None else None)


def lacks_namespace(client: ApiClient, name: str, settings: ClusterSettings) -> bool:
    """Whether the namespace has to be made first.

    Raises:
        DeploymentError: it has, and may not be.
    """
    with asking(client, f"look for the namespace {name}"):
        try:
            if find(client, NAMESPACE, name) is not None:
                return False
        except ApiException as error:
            if error.status != 403:
                raise
            # Whoever may only look into a namespace finds out when making something there.
            return False
    if settings.create_namespace:
        return True
    raise DeploymentError(
        FailureKind.INVALID_SPEC,
        f"The cluster has no namespace `{name}` (model.namespace), and the settings do not let the "
        f"autotuner make one: `kubectl create namespace {name}`.",
    )


def make_namespace(client: ApiClient, name: str) -> None:
    """A namespace that is made is never deleted: there may be somebody else's things in it by then.

    Raises:
        DeploymentError: the cluster refuses it.
    """
    with asking(client, f"make the namespace {name}"):
        try:
            create(client, NAMESPACE, {"metadata": {"name": name}})
        except ApiException as error:
            # Another experiment of the same task was quicker.
            if error.status != 409:
                raise


def versions(client: ApiClient) -> dict[str, Any]:
    """Of Kubernetes and of OME, as far as they may be read."""
    return {
        "kubernetes_version": _readable(lambda: version_of(client)),
        "ome_version": _readable(lambda: _ome_version(client)),
    }


def _new_model(
    request: DeploymentRequest,
    settings: ClusterSettings,
    manifests: Manifests,
    known: Sequence[Document],
) -> Document:
    """A model that the cluster can fetch by itself; anything else has to be there.

    Raises:
        DeploymentError: MODEL_MISSING, with the names that exist.
    """
    if settings.model_storage is not None and "/" in request.model:
        return plan_model(request, settings.model_storage, manifests)
    names = sorted({one["metadata"]["name"] for one in known})
    names.sort(key=lambda name: -difflib.SequenceMatcher(None, name, request.model).ratio())
    there = f"it has {', '.join(names[:MOST_NAMES])}" if names else "it has none at all"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    raise DeploymentError(
        FailureKind.MODEL_MISSING,
        f"The cluster knows no model `{request.model}`, neither as a ClusterBaseModel nor as a "
        f"BaseModel of the namespace {namespace_of(request)}; {there}{more}.",
    )


def _is_made_for_an_engine(runtime: Document) -> bool:
    """One of ours, for a single experiment, which goes with it."""
    return "autotuner/experiment" in (runtime["metadata"].get("labels") or {})


def _ome_version(client: ApiClient) -> str | None:
    """The tag of its controller's image."""
    for deployment in list_objects(client, DEPLOYMENT, OME_NAMESPACE, OME_CONTROLLER):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            _, colon, tag = str(container.get("image")).rpartition(":")
            if colon and "/" not in tag:
                return tag
    return None


def _readable(ask: Any) -> Any:
    try:
        return ask()
    except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
        logger.info("a version can't be read: %s", error)
        return None
