"""A small client of the API server for the stand-ins: documents in, documents out, and watches."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

Document = dict[str, Any]
Key = tuple[str, str]
"""Namespace, empty for an object of the cluster, and name."""


@dataclass(frozen=True)
class Kind:
    """Where objects of a kind are found."""

    api: str
    plural: str
    namespaced: bool = True


def _ome(plural: str, namespaced: bool = True) -> Kind:
    return Kind("ome.io/v1beta1", plural, namespaced)


_RBAC = "rbac.authorization.k8s.io/v1"
KINDS = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Node": Kind("v1", "nodes", namespaced=False),
    "PersistentVolume": Kind("v1", "persistentvolumes", namespaced=False),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "Pod": Kind("v1", "pods"),
    "Service": Kind("v1", "services"),
    "Event": Kind("v1", "events"),
    "Secret": Kind("v1", "secrets"),
    "ConfigMap": Kind("v1", "configmaps"),
    "Deployment": Kind("apps/v1", "deployments"),
    "ReplicaSet": Kind("apps/v1", "replicasets"),
    "Job": Kind("batch/v1", "jobs"),
    "Role": Kind(_RBAC, "roles"),
    "RoleBinding": Kind(_RBAC, "rolebindings"),
    "ClusterRole": Kind(_RBAC, "clusterroles", namespaced=False),
    "ClusterRoleBinding": Kind(_RBAC, "clusterrolebindings", namespaced=False),
    "CustomResourceDefinition": Kind(
        "apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False
    ),
    "ValidatingWebhookConfiguration": Kind(
        "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", namespaced=False
    ),
    "InferenceService": _ome("inferenceservices"),
    "ServingRuntime": _ome("servingruntimes"),
    "BaseModel": _ome("basemodels"),
    "BenchmarkJob": _ome("benchmarkjobs"),
    "ClusterServingRuntime": _ome("clusterservingruntimes", namespaced=False),
    "ClusterBaseModel": _ome("clusterbasemodels", namespaced=False),
}


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """The path below the server's address; of the whole cluster without a namespace."""
    found = KINDS[kind]
    root = "/api/v1" if found.api == "v1" else f"/apis/{found.api}"
    place = f"/namespaces/{namespace}" if namespace and found.namespaced else ""
    return f"{root}{place}/{found.plural}" + (f"/{name}" if name else "")


def now() -> str:
    """This moment as the API writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(document: Document) -> Key:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def owner_reference(owner: Document) -> Document:
    """The owner that controls an object: its foreground deletion waits for that object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


class Refused(Exception):
    """The API server said no; its sentence, and the status of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Every method raises `Refused` for an answer that is no success."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.AsyncClient(
            base_url=url, verify=tls, trust_env=False, timeout=30, limits=limits
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def create(self, document: Document) -> Document:
        namespace, _ = key_of(document)
        return await self._send("POST", path_of(document["kind"], namespace), json=document)

    async def replace(self, document: Document) -> Document:
        path = path_of(document["kind"], *key_of(document))
        return await self._send("PUT", path, json=document)

    async def get(self, kind: str, namespace: str, name: str) -> Document | None:
        try:
            return await self._send("GET", path_of(kind, namespace, name))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def all(self, kind: str, namespace: str = "", labels: str = "") -> list[Document]:
        answer = await self._send(
            "GET", path_of(kind, namespace), params={"labelSelector": labels} if labels else None
        )
        found: list[Document] = answer["items"]
        return found

    async def patch(self, kind: str, key: Key, change: Document, part: str = "") -> Document:
        """A JSON merge patch of the object, or of its `/status`."""
        content = {"Content-Type": "application/merge-patch+json"}
        path = path_of(kind, *key) + part
        return await self._send("PATCH", path, content=json.dumps(change), headers=content)

    async def delete(
        self, kind: str, key: Key, options: Document | None = None, if_there: bool = True
    ) -> None:
        """`if_there`: what is gone already is no error."""
        try:
            await self._send("DELETE", path_of(kind, *key), json=options or {})
        except Refused as refused:
            if not (if_there and refused.status in (404, 409)):
                raise

    async def watch(self, kind: str, version: str) -> AsyncIterator[Document]:
        """Events since a resource version, until the server ends the watch."""
        params = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        timeout = httpx.Timeout(30, read=None)
        request = self._client.stream("GET", path_of(kind), params=params, timeout=timeout)
        async with request as answer:
            if answer.status_code >= 400:
                await answer.aread()
                raise _refusal(answer)
            async for line in answer.aiter_lines():
                yield json.loads(line)

    async def _send(self, method: str, path: str, **arguments: Any) -> Document:
        answer = await self._client.request(method, path, **arguments)
        if answer.status_code >= 400:
            raise _refusal(answer)
        document: Document = answer.json()
        return document

    async def list_with_version(self, kind: str) -> tuple[list[Document], str]:
        answer = await self._send("GET", path_of(kind))
        return answer["items"], answer["metadata"]["resourceVersion"]


def _refusal(answer: httpx.Response) -> Refused:
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError):
        message = answer.text
    return Refused(answer.status_code, message)


@dataclass
class Mirror:
    """All objects of a kind as they are now, kept by a watch.

    `changed` is called after each change with the object as it is, and None in the place of what
    is gone. It must not raise.
    """

    api: Api
    kind: str
    changed: Callable[[Key, Document | None], None]
    objects: dict[Key, Document] = field(default_factory=dict)

    def of_namespace(self, namespace: str) -> list[Document]:
        return [one for (place, _), one in self.objects.items() if place == namespace]

    async def follow(self) -> None:
        """Run until cancelled; a watch that breaks is begun anew with a fresh list."""
        while True:
            try:
                items, version = await self.api.list_with_version(self.kind)
                self._take_all(items)
                async for event in self.api.watch(self.kind, version):
                    if event["type"] == "ERROR":
                        break
                    self._take(event)
            except (httpx.TransportError, Refused):
                await asyncio.sleep(0.2)

    def _take_all(self, items: list[Document]) -> None:
        found = {key_of(item): item for item in items}
        for key in self.objects.keys() - found.keys():
            del self.objects[key]
            self.changed(key, None)
        for key, item in found.items():
            self._set(key, item)

    def _take(self, event: Document) -> None:
        if event["type"] == "BOOKMARK":
            return
        key = key_of(event["object"])
        if event["type"] == "DELETED":
            self.objects.pop(key, None)
            self.changed(key, None)
        else:
            self._set(key, event["object"])

    def _set(self, key: Key, item: Document) -> None:
        # Items of a list don't say what they are.
        item.setdefault("kind", self.kind)
        item.setdefault("apiVersion", KINDS[self.kind].api)
        self.objects[key] = item
        self.changed(key, item)
