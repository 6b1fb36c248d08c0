"""Volumes for claims, as a cluster's provisioner makes them; the real controller binds them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.api import Api, Document, Key, Refused


@dataclass
class FakeProvisioner:
    """Each claim gets a directory below `directory`, which goes with it."""

    api: Api
    directory: Path
    _volumes: dict[Key, str] = field(default_factory=dict)
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    def path_of(self, uid: str) -> Path:
        return self.directory / f"pvc-{uid}"

    def take(self, key: Key, claim: Document | None) -> None:
        if claim is None:
            name = self._volumes.pop(key, None)
            if name is not None:
                self._do(self._remove(name))
        elif key not in self._volumes:
            self._volumes[key] = f"pvc-{claim['metadata']['uid']}"
            self._do(self._make(claim))

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _make(self, claim: Document) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        path = self.path_of(metadata["uid"])
        path.mkdir(parents=True, exist_ok=True)
        names = ("namespace", "name", "uid", "resourceVersion")
        reference = {name: metadata[name] for name in names}
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": path.name},
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": str(path)},
                "storageClassName": spec.get("storageClassName", ""),
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
            },
        }
        with contextlib.suppress(Refused, httpx.TransportError):
            await self.api.create(volume)

    async def _remove(self, name: str) -> None:
        shutil.rmtree(self.directory / name, ignore_errors=True)
        with contextlib.suppress(Refused, httpx.TransportError):
            await self.api.delete("PersistentVolume", ("", name))
