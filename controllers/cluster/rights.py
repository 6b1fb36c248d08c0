"""The rights that the autotuner needs in a cluster, which of them it has, and OME's own kinds.

`docs/ome-rbac.yaml` grants exactly these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.cluster.objects import (
    BASE_MODEL,
    BENCHMARK_JOB,
    CLAIM,
    CLUSTER_BASE_MODEL,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    EVENT,
    INFERENCE_SERVICE,
    NAMESPACE,
    NODE,
    OME_GROUP,
    OME_VERSION,
    POD,
    SERVICE,
    SERVING_RUNTIME,
    ObjectKind,
)

_ASKED_AT_ONCE = 8
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Purpose(StrEnum):
    """What a right is for, as people would say it. `EXTRAS` can all be done without."""

    ENGINES = "run engines"
    REACH = "reach engines and read their logs"
    CATALOGUE = "read models and runtimes"
    JOBS = "measure by BenchmarkJobs"
    EXTRAS = "see more of the cluster"


@dataclass(frozen=True)
class Right:
    """One verb on one resource, in each namespace that tasks name or, where `is_cluster_wide`, in
    all. `resource` is a plural, with `/` before a subresource; `group` is empty for the core."""

    verb: str
    group: str
    resource: str
    purpose: Purpose
    is_cluster_wide: bool = False

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


def _rights(
    purpose: Purpose, kind: ObjectKind, verbs: str, part: str = "", *, everywhere: bool = False
) -> list[Right]:
    resource = f"{kind.plural}/{part}" if part else kind.plural
    is_cluster_wide = everywhere or not kind.is_namespaced
    return [Right(verb, kind.group, resource, purpose, is_cluster_wide) for verb in verbs.split()]


RIGHTS: Sequence[Right] = (
    *_rights(Purpose.ENGINES, INFERENCE_SERVICE, "create delete get list watch"),
    *_rights(Purpose.ENGINES, SERVING_RUNTIME, "create delete get list patch"),
    *_rights(Purpose.ENGINES, BASE_MODEL, "create"),
    *_rights(Purpose.ENGINES, POD, "delete get list watch"),
    *_rights(Purpose.ENGINES, EVENT, "list watch"),
    # What was left behind is looked for among them too, whether or not any was ever made.
    *_rights(Purpose.ENGINES, BENCHMARK_JOB, "delete list"),
    *_rights(Purpose.REACH, POD, "get", "log"),
    # A websocket is opened by GET, which newer API servers count as `create` too.
    *_rights(Purpose.REACH, POD, "create get", "portforward"),
    *_rights(Purpose.REACH, SERVICE, "list"),
    *_rights(Purpose.CATALOGUE, CLUSTER_BASE_MODEL, "get list"),
    *_rights(Purpose.CATALOGUE, CLUSTER_SERVING_RUNTIME, "list"),
    *_rights(Purpose.CATALOGUE, BASE_MODEL, "get list"),
    *_rights(Purpose.JOBS, BENCHMARK_JOB, "create get watch"),
    *_rights(Purpose.JOBS, CLAIM, "get"),
    *_rights(Purpose.JOBS, POD, "create"),
    *_rights(Purpose.EXTRAS, NAMESPACE, "create get"),
    *_rights(Purpose.EXTRAS, NODE, "get list"),
    *_rights(Purpose.EXTRAS, DEPLOYMENT, "list", everywhere=True),
    *_rights(Purpose.EXTRAS, INFERENCE_SERVICE, "list", everywhere=True),
    *_rights(Purpose.EXTRAS, SERVING_RUNTIME, "list", everywhere=True),
    *_rights(Purpose.EXTRAS, BENCHMARK_JOB, "list", everywhere=True),
    *_rights(Purpose.EXTRAS, POD, "list", everywhere=True),
)
"""Extras: make a task's namespace, say how many GPUs nodes have and which, tell OME's version, and
find what was left behind in namespaces that no task names any more."""


def missing_rights(
    client: ApiClient, namespace: str, rights: Iterable[Right] = RIGHTS
) -> list[Right]:
    """Those of `rights` that we do not have in `namespace`, in their order.

    Each is asked for by a SelfSubjectAccessReview, which everybody may make who has signed in.

    Raises:
        ApiException, urllib3.exceptions.HTTPError: as every call of the client.
    """
    wanted = list(rights)
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="rights") as pool:
        allowed = pool.map(lambda right: _is_allowed(client, right, namespace), wanted)
        return [right for right, is_allowed in zip(wanted, allowed, strict=True) if not is_allowed]


def _is_allowed(client: ApiClient, right: Right, namespace: str) -> bool:
    resource, _, part = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": part,
        "namespace": "" if right.is_cluster_wide else namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = client.call_api(
        _REVIEWS,
        "POST",
        header_params={"Accept": "application/json", "Content-Type": "application/json"},
        body=review,
        response_types_map={200: "object", 201: "object"},
        auth_settings=["BearerToken"],
        _return_http_data_only=True,
    )
    return (answer.get("status") or {}).get("allowed") is True


@dataclass(frozen=True)
class OmeKinds:
    """What the cluster knows of OME: the versions of its group, and which kinds are not there."""

    versions: tuple[str, ...]
    missing: tuple[str, ...]


_OME_KINDS = (
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    CLUSTER_SERVING_RUNTIME,
    BASE_MODEL,
    CLUSTER_BASE_MODEL,
    BENCHMARK_JOB,
)


def ome_kinds(client: ApiClient) -> OmeKinds:
    """By discovery, which everybody may read who has signed in.

    Raises:
        ApiException, urllib3.exceptions.HTTPError: as every call of the client.
    """
    group = _discovered(client, f"/apis/{OME_GROUP}")
    resources = _discovered(client, f"/apis/{OME_GROUP}/{OME_VERSION}")
    versions = tuple(str(one["version"]) for one in group.get("versions") or ())
    known = {(one["name"], one["kind"]) for one in resources.get("resources") or ()}
    missing = [kind.name for kind in _OME_KINDS if (kind.plural, kind.name) not in known]
    return OmeKinds(versions, tuple(missing))


def _discovered(client: ApiClient, path: str) -> dict[str, list[dict[str, str]]]:
    try:
        answer = client.call_api(
            path,
            "GET",
            header_params={"Accept": "application/json"},
            response_types_map={200: "object"},
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
        )
    except ApiException as error:
        if error.status == 404:
            return {}
        raise
    return answer if isinstance(answer, dict) else {}
