"""Objects of a cluster as plain documents: found, listed, made, changed and deleted.

Documents stay as the API server writes them (JSON with camelCase names), whatever their kind: OME's
own kinds have no classes in the Kubernetes client, and one way for all is easier to follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.cluster.connection import lacks_the_kind

Document = dict[str, Any]


@dataclass(frozen=True)
class ObjectKind:
    """A kind of object and where the API server keeps it. `group` is empty for the core group."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"
    is_namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Of one object, or of all in a namespace, or of all there are."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{quote(namespace)}" if self.is_namespaced and namespace else ""
        return f"{root}{where}/{self.plural}" + (f"/{quote(name)}" if name else "")


OME_GROUP = "ome.io"
OME_VERSION = "v1beta1"


def _of_ome(name: str, plural: str, *, is_namespaced: bool = True) -> ObjectKind:
    return ObjectKind(name, plural, OME_GROUP, OME_VERSION, is_namespaced)


INFERENCE_SERVICE = _of_ome("InferenceService", "inferenceservices")
SERVING_RUNTIME = _of_ome("ServingRuntime", "servingruntimes")
CLUSTER_SERVING_RUNTIME = _of_ome(
    "ClusterServingRuntime", "clusterservingruntimes", is_namespaced=False
)
BASE_MODEL = _of_ome("BaseModel", "basemodels")
CLUSTER_BASE_MODEL = _of_ome("ClusterBaseModel", "clusterbasemodels", is_namespaced=False)
BENCHMARK_JOB = _of_ome("BenchmarkJob", "benchmarkjobs")

NAMESPACE = ObjectKind("Namespace", "namespaces", is_namespaced=False)
NODE = ObjectKind("Node", "nodes", is_namespaced=False)
POD = ObjectKind("Pod", "pods")
CLAIM = ObjectKind("PersistentVolumeClaim", "persistentvolumeclaims")
SERVICE = ObjectKind("Service", "services")
EVENT = ObjectKind("Event", "events")
DEPLOYMENT = ObjectKind("Deployment", "deployments", "apps")


def find(
    client: ApiClient, kind: ObjectKind, name: str, namespace: str | None = None
) -> Document | None:
    """One object, or None where there is none of that name.

    Raises:
        ApiException: also with status 404, where the cluster does not know the kind.
    """
    try:
        return _call(client, "GET", kind.path(namespace, name))
    except ApiException as error:
        if error.status == 404 and not lacks_the_kind(error):
            return None
        raise


def list_objects(
    client: ApiClient, kind: ObjectKind, namespace: str | None = None, labels: str = ""
) -> list[Document]:
    """Those in a namespace, or in all, that the selector `labels` matches."""
    query = [("labelSelector", labels)] if labels else []
    items = _call(client, "GET", kind.path(namespace), query=query).get("items") or ()
    # Lists of Kubernetes' own kinds leave that out of their items.
    return [{"apiVersion": kind.api_version, "kind": kind.name, **one} for one in items]


def create(
    client: ApiClient, kind: ObjectKind, document: Mapping[str, Any], namespace: str | None = None
) -> Document:
    """The object as the API server has stored it."""
    return _call(client, "POST", kind.path(namespace), body=dict(document))


def patch(
    client: ApiClient,
    kind: ObjectKind,
    name: str,
    changes: Mapping[str, Any],
    namespace: str | None = None,
) -> Document:
    """Change some fields of an object, as an RFC 7386 merge patch."""
    return _call(
        client,
        "PATCH",
        kind.path(namespace, name),
        body=dict(changes),
        content_type="application/merge-patch+json",
    )


def delete(
    client: ApiClient,
    kind: ObjectKind,
    name: str,
    namespace: str | None = None,
    *,
    uid: str | None = None,
    grace_s: int | None = None,
    foreground: bool = False,
) -> bool:
    """Ask for an object's deletion; False where it is not there (any more), or is another by now.

    With `foreground` the object stays until all that belongs to it is gone. `uid` makes sure that
    an object of the same name made meanwhile is left alone.
    """
    options: Document = {"kind": "DeleteOptions", "apiVersion": "v1"}
    if foreground:
        options["propagationPolicy"] = "Foreground"
    if grace_s is not None:
        options["gracePeriodSeconds"] = grace_s
    if uid is not None:
        options["preconditions"] = {"uid": uid}
    try:
        _call(client, "DELETE", kind.path(namespace, name), body=options)
    except ApiException as error:
        if error.status == 409 or (error.status == 404 and not lacks_the_kind(error)):
            return False
        raise
    return True


def _call(
    client: ApiClient,
    method: str,
    path: str,
    *,
    query: list[tuple[str, str]] | None = None,
    body: Document | None = None,
    content_type: str = "application/json",
) -> Document:
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = content_type
    answer = client.call_api(
        path,
        method,
        query_params=query or [],
        header_params=headers,
        body=body,
        response_types_map={200: "object", 201: "object", 202: "object"},
        auth_settings=["BearerToken"],
        _return_http_data_only=True,
    )
    return answer if isinstance(answer, dict) else {}
