"""FakeKubelet: nodes with GPUs that there are none of, whose pods are processes of this host.

A real kubelet changes kernel settings of the whole machine, so none runs here. This one takes the
pods that the real scheduler binds to its nodes, starts their containers as process groups, and
tells the API server what becomes of them in the words of a kubelet. What a pod believes to have
and what it really has:

- an address: one of 127.0.0.0/8; a server on every address listens on that one alone;
- volumes: directories of this host, mounted where the pod wants them;
- a memory limit: watched, and enforced by SIGKILL;
- GPUs: nothing.

Probes are asked ten times a second until they succeed and then once a second, whatever the pod
says; liveness is not looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.api import Api, Document, Key, Mirror, Refused, now
from tests.cluster.certificates import Authority
from tests.cluster.claims import FakeProvisioner
from tests.cluster.events import Recorder
from tests.cluster.images import Image, standard_images
from tests.cluster.kubelet_server import KubeletServer
from tests.cluster.network import LoopbackNetwork
from tests.cluster.pod import FakePod, Node, condition
from tests.cluster.service_proxy import ServiceProxy

GPU = "nvidia.com/gpu"
DEFAULT_GRACE_S = 30.0


@dataclass(frozen=True)
class NodeSize:
    """What a fake node claims to have."""

    name: str
    gpus: int


class FakeKubelet:
    """Runs in one event loop. `images` may be added to while it runs."""

    def __init__(self, api: Api, authority: Authority, directory: Path) -> None:
        self.api = api
        self.directory = directory
        self.network = LoopbackNetwork()
        self.images: dict[str, Image] = standard_images(directory / "images")
        self.claims = FakeProvisioner(api, directory / "claims")
        self.services = ServiceProxy(self.network, self._pods_of)
        self._server = KubeletServer(authority, self._find)
        self._recorder = Recorder(api, "kubelet")
        self._port = 0
        self._nodes: set[str] = set()
        self._pods: dict[str, FakePod] = {}
        self._uids: dict[Key, str] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._mirrors = [
            Mirror(api, "Pod", self._take),
            Mirror(api, "Service", self.services.take),
            Mirror(api, "PersistentVolumeClaim", self.claims.take),
        ]

    async def start(self, nodes: list[NodeSize]) -> None:
        self._port = await self._server.start()
        for node in nodes:
            await self.add_node(node)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for mirror in self._mirrors:
                group.create_task(mirror.follow())

    async def stop(self) -> None:
        """Kill every pod's processes and give everything back."""
        await asyncio.gather(*(pod.end(0) for pod in self._pods.values()))
        for task in self._working:
            task.cancel()
        self.services.stop()
        await self._server.stop()
        self.network.release()

    async def add_node(self, size: NodeSize) -> None:
        """A node that is ready; its own files lie below `node_root`."""
        self._nodes.add(size.name)
        self.node_root(size.name).mkdir(parents=True)
        labels = {"kubernetes.io/hostname": size.name, "kubernetes.io/os": "linux"}
        if size.gpus:
            # OME's benchmark pods ask for it.
            labels[GPU] = "true"
        await self.api.create(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": size.name, "labels": labels},
                "spec": {},
            }
        )
        room = {"cpu": "64", "memory": "512Gi", "pods": "200", "ephemeral-storage": "1Ti"}
        room |= {GPU: str(size.gpus)} if size.gpus else {}
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [
                condition("Ready", True, reason="KubeletReady", lastHeartbeatTime=now())
            ],
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": size.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
        }
        await self.api.patch("Node", ("", size.name), {"status": status}, "/status")
        # A new node is tainted until the node controller, which doesn't run here, finds it ready.
        await self.api.patch("Node", ("", size.name), {"spec": {"taints": None}})

    def node_root(self, name: str) -> Path:
        """Where a node's hostPath volumes lie on this host."""
        return self.directory / "nodes" / name

    def pods(self) -> list[FakePod]:
        return [*self._pods.values()]

    def _pods_of(self, namespace: str) -> Iterator[FakePod]:
        pods = self._pods.values()
        return (pod for pod in pods if pod.document["metadata"]["namespace"] == namespace)

    def _find(self, namespace: str, name: str) -> FakePod | None:
        return self._pods.get(self._uids.get((namespace, name), ""))

    # --- What the API server says of pods ---

    def _take(self, key: Key, document: Document | None) -> None:
        uid = self._uids.get(key)
        if uid is not None and (document is None or document["metadata"]["uid"] != uid):
            self._do(self._forget(key, uid))
        if document is None or document["spec"].get("nodeName") not in self._nodes:
            return
        uid = document["metadata"]["uid"]
        pod = self._pods.get(uid)
        if pod is None:
            pod = self._start(key, document)
        pod.document = document
        if "deletionTimestamp" in document["metadata"]:
            self._do(self._end(key, pod))

    def _start(self, key: Key, document: Document) -> FakePod:
        node = Node(
            self.api,
            self.images,
            self.node_root(document["spec"]["nodeName"]),
            self.directory / "pods",
            self._recorder,
            self.services.hosts,
        )
        pod = FakePod(document, node, self.network.pod_address())
        self._pods[pod.uid] = pod
        self._uids[key] = pod.uid
        if "deletionTimestamp" not in document["metadata"]:
            pod.start()
        return pod

    async def _end(self, key: Key, pod: FakePod) -> None:
        grace_s = pod.document["metadata"].get("deletionGracePeriodSeconds", DEFAULT_GRACE_S)
        if not await pod.end(grace_s):
            return
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        await self.api.delete("Pod", key, options)
        self._drop(key, pod.uid)

    async def _forget(self, key: Key, uid: str) -> None:
        """The object was removed by force: nothing of the pod may outlive it."""
        if pod := self._pods.get(uid):
            await pod.end(0)
        self._drop(key, uid)

    def _drop(self, key: Key, uid: str) -> None:
        self._pods.pop(uid, None)
        if self._uids.get(key) == uid:
            del self._uids[key]

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        async def work() -> None:
            with contextlib.suppress(Refused):
                await what

        task = asyncio.create_task(work())
        self._working.add(task)
        task.add_done_callback(self._working.discard)
