"""Services on the loopback network: what kube-proxy and the cluster's DNS do on a real node."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.cluster.api import Document, Key
from tests.cluster.network import LoopbackNetwork
from tests.cluster.pod import FakePod
from tests.cluster.pod_probe import number_of

Pods = Callable[[str], Iterable[FakePod]]
"""The pods of a namespace that run here."""


@dataclass
class ServiceProxy:
    """Each service listens on an address of its own; a NodePort also on 127.0.0.1."""

    network: LoopbackNetwork
    pods: Pods
    _services: dict[Key, Document] = field(default_factory=dict)
    _servers: dict[Key, list[asyncio.Server]] = field(default_factory=dict)
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self, key: Key, service: Document | None) -> None:
        """A service is new, changed or gone."""
        if service is None:
            self._services.pop(key, None)
            self._close(key)
            return
        before = self._services.get(key)
        self._services[key] = service
        if before is None or before["spec"] != service["spec"]:
            self._close(key)
            task = asyncio.create_task(self._listen(key, service))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    def stop(self) -> None:
        for key in [*self._servers]:
            self._close(key)

    def hosts(self, namespace: str) -> str:
        """/etc/hosts of a pod in a namespace: every service by every name it has."""
        lines = ["127.0.0.1\tlocalhost\n"]
        for (place, name), service in self._services.items():
            if address := self._address_of(service):
                names = [f"{name}.{place}{end}" for end in ("", ".svc", ".svc.cluster.local")]
                names += [name] if place == namespace else []
                lines.append(f"{address}\t{' '.join(names)}\n")
        return "".join(lines)

    def _address_of(self, service: Document) -> str | None:
        cluster_ip = service["spec"].get("clusterIP", "None")
        return None if cluster_ip in ("None", "") else self.network.service_address(cluster_ip)

    async def _listen(self, key: Key, service: Document) -> None:
        address = self._address_of(service)
        servers = self._servers.setdefault(key, [])
        for port in service["spec"].get("ports", []) if address else []:

            async def serve(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                target: int | str = port.get("targetPort", port["port"]),
            ) -> None:
                await self._connect(service, target, reader, writer)

            # A node port may be taken on this host; then the service goes without.
            with contextlib.suppress(OSError):
                servers.append(await asyncio.start_server(serve, address, port["port"]))
                if "nodePort" in port:
                    servers.append(await asyncio.start_server(serve, "127.0.0.1", port["nodePort"]))

    def _close(self, key: Key) -> None:
        for server in self._servers.pop(key, []):
            server.close()

    async def _connect(
        self,
        service: Document,
        target: int | str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            pod = self._ready_pod(service)
            if pod is None:
                return
            port = number_of(target, pod.document["spec"]["containers"][0])
            near, far = await asyncio.open_connection(pod.address, port)
            with contextlib.closing(far):
                await asyncio.gather(_pump(reader, far), _pump(near, writer))

    def _ready_pod(self, service: Document) -> FakePod | None:
        selector = service["spec"].get("selector")
        if not selector:
            return None
        for pod in self.pods(service["metadata"]["namespace"]):
            labels = pod.document["metadata"].get("labels", {})
            if pod.is_ready and selector.items() <= labels.items():
                return pod
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
