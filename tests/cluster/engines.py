"""Engines of a test cluster as the controller would leave them, for tests of what comes after."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controllers.base import BenchmarkPlan, Deployment, DeploymentIdentity
from controllers.cluster.forward import PortForward
from tests.cluster.api import Document
from tests.cluster.cluster import Cluster
from tests.cluster.objects import MODEL_PATH, PORT, inference_service
from tests.controllers.port_forward_server import free_port
from tests.services import wait_until
from tuning.domain.names import EngineName

_numbers = itertools.count(1)


def is_ready(service: Document | None) -> bool:
    conditions = (service or {}).get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def running_service(cluster: Cluster, namespace: str, *args: str) -> DeploymentIdentity:
    """A ready InferenceService with FakeEngine, called and labelled as deployments are."""
    identity = DeploymentIdentity("test", next(_numbers), 1, 1)
    document = inference_service(namespace, identity.name, *args)
    document["metadata"]["labels"] = identity.labels
    cluster.create(document)
    wait_until(
        lambda: is_ready(cluster.get("InferenceService", identity.name, namespace)),
        f"{identity.name} to be ready",
        60,
    )
    return identity


def engine_pod(cluster: Cluster, namespace: str, name: str) -> str | None:
    pods = cluster.all("Pod", namespace, f"ome.io/inferenceservice={name}")
    live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return live[0]["metadata"]["name"] if live else None


@contextmanager
def reached(cluster: Cluster, namespace: str, identity: DeploymentIdentity) -> Iterator[Deployment]:
    """The deployment behind a port-forward of its own."""
    forward = PortForward(
        cluster.client,
        namespace,
        lambda: engine_pod(cluster, namespace, identity.name),
        PORT,
        free_port(),
        print,
    )
    try:
        url = f"http://127.0.0.1:{forward.local_port}"
        yield Deployment(identity, url, ("engine",), namespace=namespace)
    finally:
        forward.close()


def lay_tokenizer(cluster: Cluster, tokenizers: Path) -> None:
    """Put the sample model's tokenizer where OME puts the model's files on each node."""
    (source,) = (path for path in tokenizers.iterdir() if path.is_dir())
    for place in cluster.node_file(MODEL_PATH):
        shutil.copytree(source, place, dirs_exist_ok=True)


def claim(cluster: Cluster, namespace: str, name: str) -> None:
    """A PersistentVolumeClaim, and its volume."""
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    )
    wait_until(
        lambda: (
            (cluster.get("PersistentVolumeClaim", name, namespace) or {})
            .get("status", {})
            .get("phase")
            == "Bound"
        ),
        f"a volume for the claim {name}",
        30,
    )


PLAN = BenchmarkPlan(
    task="text-to-text",
    scenarios=("D(16,8)",),
    concurrencies=(1, 2),
    repeats=1,
    warmup_requests=2,
    max_time_per_point_min=1,
    max_requests_per_point=4,
    model_name="vllm-model",
    tokenizer="",
    additional_params={},
    engine=EngineName.SGLANG,
)


def plan(**changes: object) -> BenchmarkPlan:
    return dataclasses.replace(PLAN, **changes)  # type: ignore[arg-type]


def claim_path(cluster: Cluster, namespace: str, name: str) -> Path:
    """The claim's volume, as a directory of this host."""
    document = cluster.get("PersistentVolumeClaim", name, namespace)
    assert document is not None
    volume = cluster.get("PersistentVolume", document["spec"]["volumeName"])
    assert volume is not None
    return Path(volume["spec"]["hostPath"]["path"])
