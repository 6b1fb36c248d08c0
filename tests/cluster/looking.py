"""What tests look at in a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from kubernetes import client as kubernetes_client
from kubernetes.stream import portforward

from tests.cluster.api import Document
from tests.cluster.cluster import Cluster
from tests.cluster.objects import PORT
from tests.services import wait_until


def condition_of(document: Document | None, kind: str) -> str:
    """`True`, `False`, `Unknown`, or nothing where there is no such condition."""
    conditions = (document or {}).get("status", {}).get("conditions", [])
    return next((one["status"] for one in conditions if one["type"] == kind), "")


def wait_until_ready(cluster: Cluster, namespace: str, name: str) -> Document:
    """The pod of an InferenceService that says it is ready."""

    def ready() -> bool:
        return condition_of(cluster.get("InferenceService", name, namespace), "Ready") == "True"

    wait_until(ready, f"{name} to be ready", 60)
    (pod,) = engine_pods(cluster, namespace, name)
    return pod


def engine_pods(cluster: Cluster, namespace: str, name: str) -> list[Document]:
    return cluster.all("Pod", namespace, f"ome.io/inferenceservice={name}")


def container_of(cluster: Cluster, namespace: str, name: str) -> Document:
    """The first container's status, nothing before the pod has one."""
    for pod in engine_pods(cluster, namespace, name):
        for status in pod.get("status", {}).get("containerStatuses", []):
            found: Document = status
            return found
    return {}


def wait_for_container(
    cluster: Cluster, namespace: str, name: str, condition: Callable[[Document], object]
) -> Document:
    def there() -> bool:
        status = container_of(cluster, namespace, name)
        return bool(status and condition(status))

    wait_until(there, f"{name}, whose container is {container_of(cluster, namespace, name)}", 30)
    return container_of(cluster, namespace, name)


def warnings(cluster: Cluster, namespace: str, kind: str) -> list[str]:
    """`Reason: message` of every warning about objects of a kind."""
    return [
        f"{one['reason']}: {one['message']}"
        for one in cluster.all("Event", namespace)
        if one["type"] == "Warning" and one["involvedObject"]["kind"] == kind
    ]


def log_of(cluster: Cluster, pod: Document, **wanted: Any) -> list[str]:
    """What the API server says that the pod printed."""
    core = kubernetes_client.CoreV1Api(cluster.client)
    metadata = pod["metadata"]
    # What the client makes of a text by itself is the `repr` of its bytes.
    answer = core.read_namespaced_pod_log(
        metadata["name"], metadata["namespace"], _preload_content=False, **wanted
    )
    text: str = answer.data.decode()
    return text.splitlines()


def request_through(cluster: Cluster, pod: Document, path: str) -> str:
    """The answer to a GET, sent through the API server's port-forward."""
    core = kubernetes_client.CoreV1Api(cluster.client)
    metadata = pod["metadata"]
    forward = portforward(
        core.connect_get_namespaced_pod_portforward,
        metadata["name"],
        metadata["namespace"],
        ports=str(PORT),
    )
    with contextlib.closing(forward.socket(PORT)) as socket:
        socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := socket.recv(4096):
            answer += data
    return answer.decode()
