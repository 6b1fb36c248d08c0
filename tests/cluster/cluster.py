"""A Kubernetes cluster for tests: real servers, FakeOme, FakeKubelet, and two nodes with GPUs.

`cluster` is started once per test run (6 s) and `namespace` is new for each test, empty, and gone
afterwards with all that is in it. Made ready for every test: the ClusterServingRuntime
`fake-engine`, whose engine is FakeEngine, and the ClusterBaseModel `fake-model`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from tests.cluster.api import Api, Document, key_of
from tests.cluster.binaries import Binaries
from tests.cluster.container_runtime import POD_MARK, marked
from tests.cluster.control_plane import ControlPlane
from tests.cluster.crds import reduced_crds
from tests.cluster.fake_kubelet import FakeKubelet, NodeSize
from tests.cluster.fake_ome import FakeOme
from tests.cluster.images import Image
from tests.cluster.objects import BASE_MODEL, SERVING_RUNTIME
from tests.cluster.ome_webhook import NameWebhook
from tests.cluster.pod import FakePod
from tests.services import wait_until

NODES = (NodeSize("gpu-a", 8), NodeSize("gpu-b", 8))
MADE_BY_A_DEPLOYMENT = (
    *("InferenceService", "ServingRuntime", "BaseModel", "BenchmarkJob", "Deployment"),
    *("ReplicaSet", "Job", "Pod", "Service"),
)
ESTABLISHED_WITHIN_S = 60.0
GONE_WITHIN_S = 60.0

Result = TypeVar("Result")
_numbers = itertools.count(1)


class Background:
    """An event loop in a thread of its own, for what stands in for OME and for the nodes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="fake-cluster", daemon=True
        )
        self._thread.start()
        self._running: list[asyncio.Task[None]] = []

    def call(self, what: Coroutine[Any, Any, Result], within_s: float = 60.0) -> Result:
        """Its result, computed over there."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(within_s)

    def start(self, what: Coroutine[Any, Any, None]) -> None:
        """Runs until `cancel`."""

        async def start() -> None:
            self._running.append(asyncio.create_task(what))

        self.call(start())

    def cancel(self) -> None:
        """End what was started. A stand-in that has failed makes this raise what it raised."""
        self.call(self._cancel())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _cancel(self) -> None:
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@dataclass
class Cluster:
    """`kubeconfig` and `client` are the administrator's."""

    control_plane: ControlPlane
    background: Background
    api: Api
    kubelet: FakeKubelet
    client: kubernetes_client.ApiClient

    @property
    def kubeconfig(self) -> Path:
        return self.control_plane.kubeconfig

    @property
    def url(self) -> str:
        return self.control_plane.url

    @property
    def images(self) -> dict[str, Image]:
        """What nodes can pull, by name and tag; may be added to."""
        return self.kubelet.images

    # --- Objects, as documents ---

    def create(self, document: Document) -> Document:
        """Raises `Refused` with the API server's own sentence."""
        return self.background.call(self.api.create(document))

    def get(self, kind: str, name: str, namespace: str = "") -> Document | None:
        return self.background.call(self.api.get(kind, namespace, name))

    def all(self, kind: str, namespace: str = "", labels: str = "") -> list[Document]:
        return self.background.call(self.api.all(kind, namespace, labels))

    def delete(self, kind: str, name: str, namespace: str = "", *, foreground: bool = True) -> None:
        """Does not wait. What is not there is no error."""
        policy = "Foreground" if foreground else "Background"
        options = {"propagationPolicy": policy}
        self.background.call(self.api.delete(kind, (namespace, name), options))

    def patch(
        self, kind: str, name: str, change: Document, namespace: str = "", part: str = ""
    ) -> Document:
        """`part` is `/status` for what only controllers change."""
        return self.background.call(self.api.patch(kind, (namespace, name), change, part))

    def left_in(self, namespace: str) -> list[str]:
        """All that a deployment can leave there, as `Kind/name`."""
        return [
            f"{kind}/{one['metadata']['name']}"
            for kind in MADE_BY_A_DEPLOYMENT
            for one in self.all(kind, namespace)
        ]

    # --- People ---

    def kubeconfig_for(
        self,
        user: str,
        namespace: str,
        rules: Sequence[Document],
        cluster_rules: Sequence[Document] = (),
    ) -> Path:
        """The kubeconfig of a new user with these rights in a namespace and no others.

        `rules` and `cluster_rules` are RBAC's: {"apiGroups": …, "resources": …, "verbs": …}.
        """
        for kind, place, granted in (
            ("Role", namespace, rules),
            ("ClusterRole", "", cluster_rules),
        ):
            if granted:
                self._grant(kind, f"{user}-{next(_numbers)}", place, user, granted)
        return self.control_plane.kubeconfig_of(user, self.control_plane.authority.issue(user))

    def _grant(
        self, kind: str, name: str, namespace: str, user: str, rules: Sequence[Document]
    ) -> None:
        group = "rbac.authorization.k8s.io"
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        api = {"apiVersion": f"{group}/v1", "metadata": metadata}
        self.create({**api, "kind": kind, "rules": [*rules]})
        subject = {"kind": "User", "name": user, "apiGroup": group}
        reference = {"kind": kind, "name": name, "apiGroup": group}
        self.create({**api, "kind": f"{kind}Binding", "subjects": [subject], "roleRef": reference})

    # --- Namespaces, nodes ---

    def make_namespace(self, name: str) -> str:
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def remove_namespace(self, name: str) -> None:
        """Wait until nothing of `left_in` is there. The namespace itself goes a little later: its
        controller waits for pods that may end politely, and looks again only after seconds."""
        self.background.call(self._remove_all_in(name))
        wait_until(lambda: not self.left_in(name), f"the end of all in {name}", GONE_WITHIN_S)
        self.delete("Namespace", name, foreground=False)

    async def _remove_all_in(self, namespace: str) -> None:
        for kind in ("BenchmarkJob", "InferenceService", "Deployment", "ReplicaSet", "Job", "Pod"):
            for one in await self.api.all(kind, namespace):
                options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
                await self.api.delete(kind, key_of(one), options)
        for kind in ("ServingRuntime", "BaseModel", "Service"):
            for one in await self.api.all(kind, namespace):
                await self.api.delete(kind, key_of(one))

    def running_pods(self, namespace: str) -> list[FakePod]:
        """The pods of a namespace that have processes on this host."""
        pods = self.kubelet.pods()
        ours = [pod for pod in pods if pod.document["metadata"]["namespace"] == namespace]
        return [pod for pod in ours if pod.has_processes]

    def pod_processes(self, namespace: str) -> list[str]:
        """The names of `running_pods`."""
        return [pod.document["metadata"]["name"] for pod in self.running_pods(namespace)]

    def processes_of(self, uid: str) -> list[psutil.Process]:
        """Every process on this host that belongs to a pod."""
        return marked(POD_MARK, uid)

    def node_file(self, path: str) -> list[Path]:
        """Where a path of the nodes (hostPath) lies on this host, one for each node."""
        return [self.kubelet.node_root(node.name) / path.lstrip("/") for node in NODES]


@contextlib.contextmanager
def running_cluster(crds: Sequence[Document]) -> Iterator[Cluster]:
    """All of it is stopped and removed at the end, whatever happened."""
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="autotuner-cluster-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        plane = ControlPlane(Binaries.found(), directory)
        stack.callback(plane.stop)
        plane.start_api()
        background = Background()
        stack.callback(background.stop)
        api = background.call(_connect(plane))
        stack.callback(lambda: background.call(api.close()))
        for definition in crds:
            background.call(api.create(definition))
        background.call(_established(api, crds))
        plane.start_controllers()
        kubelet = FakeKubelet(api, plane.authority, directory / "kubelet")
        stack.callback(lambda: background.call(kubelet.stop()))
        webhook = NameWebhook(api, plane.authority)
        stack.callback(lambda: background.call(webhook.stop()))
        background.call(webhook.start())
        background.call(kubelet.start([*NODES]))
        # First of all, so that nothing new is begun while the rest ends.
        stack.callback(background.cancel)
        background.start(kubelet.run())
        background.start(FakeOme(api).run())
        client = kubernetes_config.new_client_from_config(str(plane.kubeconfig))
        stack.callback(client.close)
        yield Cluster(plane, background, api, kubelet, client)


async def _connect(plane: ControlPlane) -> Api:
    return Api(plane.url, plane.client_tls())


async def _established(api: Api, crds: Sequence[Document]) -> None:
    """Wait until objects of each kind can be made."""
    for definition in crds:
        name = definition["metadata"]["name"]
        async with asyncio.timeout(ESTABLISHED_WITHIN_S):
            while not _is_established(await api.get("CustomResourceDefinition", "", name)):
                await asyncio.sleep(0.1)


def _is_established(definition: Document | None) -> bool:
    conditions = (definition or {}).get("status", {}).get("conditions", [])
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster(reduced_crds()) as cluster:
        cluster.create(BASE_MODEL)
        cluster.create(SERVING_RUNTIME)
        yield cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """Empty and new."""
    name = cluster.make_namespace(f"test-{next(_numbers)}")
    yield name
    cluster.remove_namespace(name)
