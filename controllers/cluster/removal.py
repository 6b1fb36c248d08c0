"""Removing what was deployed: everything that bears an identity's labels, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.base import DeploymentError, DeploymentIdentity, Tick, no_tick
from controllers.cluster.connection import asking, lacks_the_kind
from controllers.cluster.objects import (
    BENCHMARK_JOB,
    INFERENCE_SERVICE,
    POD,
    SERVING_RUNTIME,
    Document,
    ObjectKind,
    delete,
    list_objects,
)
from tuning.domain.failures import FailureKind

OURS = (INFERENCE_SERVICE, SERVING_RUNTIME, BENCHMARK_JOB, POD)
"""Kinds of which we make objects, in the order in which they are deleted."""
FORCE_AFTER_S = 5.0
"""Seconds after the polite ones before pods are deleted by force: OME and Kubernetes pass a
deletion on, which takes a moment each."""
GIVE_UP_AFTER_S = 60.0
LOOK_AGAIN_S = (0.05, 0.5)


def selector(labels: Mapping[str, str]) -> str:
    """Labels as a label selector that asks for all of them."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def labelled(
    client: ApiClient, labels: Mapping[str, str], namespaces: Callable[[], Iterable[str]]
) -> list[tuple[ObjectKind, Document]]:
    """All objects of ours with these labels: of the whole cluster where that may be listed, else
    of the `namespaces`.

    Raises:
        ApiException, urllib3.exceptions.HTTPError: as every call of the client.
    """
    found: list[tuple[ObjectKind, Document]] = []
    for kind in OURS:
        found += [(kind, one) for one in _of_kind(client, kind, selector(labels), namespaces)]
    return found


def _of_kind(
    client: ApiClient, kind: ObjectKind, labels: str, namespaces: Callable[[], Iterable[str]]
) -> list[Document]:
    try:
        return _listed(client, kind, None, labels)
    except ApiException as error:
        if error.status != 403:
            raise
    places = dict.fromkeys(namespaces())
    return [one for place in places for one in _listed(client, kind, place, labels)]


def remove(
    client: ApiClient,
    identity: DeploymentIdentity,
    namespace: str,
    polite_s: float,
    tick: Tick = no_tick,
) -> None:
    """Delete what bears the labels of `identity` in `namespace`, and wait until it is gone.

    Pods may stop by themselves for as long as they say, then are deleted by force. What is not
    there, or goes meanwhile, is no error.

    Raises:
        DeploymentError: something is still there after `GIVE_UP_AFTER_S`, or may not be deleted.
            Also whatever `tick` raises.
    """
    with asking(client, f"remove {identity.name} from the namespace {namespace}"):
        started = time.monotonic()
        forced = False
        asked: set[str] = set()
        while left := _left(client, identity, namespace):
            for kind, one in left:
                _delete_once(client, kind, one, namespace, asked)
            waited_s = time.monotonic() - started
            if waited_s > GIVE_UP_AFTER_S:
                raise DeploymentError(FailureKind.CLUSTER_UNAVAILABLE, _still_there(left))
            if waited_s > polite_s + FORCE_AFTER_S and not forced:
                forced = True
                _kill(client, left, namespace)
            tick()
            shortest_s, longest_s = LOOK_AGAIN_S
            time.sleep(min(max(shortest_s, waited_s / 10), longest_s))


def _left(
    client: ApiClient, identity: DeploymentIdentity, namespace: str
) -> list[tuple[ObjectKind, Document]]:
    """What is still there. Pods that OME makes of our service bear our labels, as it does."""
    labels = selector(identity.labels)
    return [(kind, one) for kind in OURS for one in _listed(client, kind, namespace, labels)]


def _listed(
    client: ApiClient, kind: ObjectKind, namespace: str | None, labels: str
) -> list[Document]:
    """A kind that the cluster does not know has no objects."""
    try:
        return list_objects(client, kind, namespace, labels)
    except ApiException as error:
        if error.status == 404 and lacks_the_kind(error):
            return []
        raise


def _delete_once(
    client: ApiClient, kind: ObjectKind, one: Document, namespace: str, asked: set[str]
) -> None:
    metadata = one["metadata"]
    if metadata["uid"] in asked or metadata.get("deletionTimestamp"):
        return
    if kind is POD and metadata.get("ownerReferences"):
        # It goes with its owner, which would only make another one.
        return
    asked.add(metadata["uid"])
    delete(client, kind, metadata["name"], namespace, uid=metadata["uid"], foreground=True)


def _kill(client: ApiClient, left: Iterable[tuple[ObjectKind, Document]], namespace: str) -> None:
    for kind, one in left:
        if kind is POD:
            metadata = one["metadata"]
            delete(client, kind, metadata["name"], namespace, uid=metadata["uid"], grace_s=0)


def _still_there(left: Iterable[tuple[ObjectKind, Document]]) -> str:
    def described(kind: ObjectKind, one: Document) -> str:
        metadata = one["metadata"]
        finalizers = ", ".join(metadata.get("finalizers") or ())
        return f"{kind.name} {metadata['name']}" + (
            f" (waits for {finalizers})" if finalizers else ""
        )

    names = "; ".join(described(kind, one) for kind, one in left)
    return f"Still there {GIVE_UP_AFTER_S:g} s after its deletion: {names}."
