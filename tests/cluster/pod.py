"""One pod on a fake node: its containers, its status, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.cluster.api import Api, Document, Refused, key_of, now
from tests.cluster.container_runtime import POD_MARK, marked
from tests.cluster.events import Recorder
from tests.cluster.images import Image
from tests.cluster.pod_container import FakeContainer, Launch
from tests.cluster.pod_environment import NotMountable, Volumes, environment_of, expanded

Hosts = Callable[[str], str]
"""The text of /etc/hosts for a namespace."""


@dataclass(frozen=True)
class Node:
    """What a pod needs of the node that it is bound to. `root` holds the node's own files."""

    api: Api
    images: Mapping[str, Image]
    root: Path
    directory: Path
    recorder: Recorder
    hosts: Hosts


@dataclass
class FakePod:
    """`document` is the pod as the API server has it now; `address` is its own."""

    document: Document
    node: Node
    address: str
    containers: list[FakeContainer] = field(default_factory=list)
    init_containers: list[FakeContainer] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _publisher: asyncio.Task[None] | None = None
    _dirty: asyncio.Event = field(default_factory=asyncio.Event)
    _started: str = field(default_factory=now)
    _ending: bool = False
    _overdue: bool = False

    @property
    def uid(self) -> str:
        return str(self.document["metadata"]["uid"])

    @property
    def is_ready(self) -> bool:
        return bool(self.containers) and all(one.ready for one in self.containers)

    @property
    def has_processes(self) -> bool:
        return any(one.is_running for one in self._all())

    def start(self) -> None:
        self.directory.mkdir(parents=True)
        spec = self.document["spec"]
        self.init_containers = [self._container(one) for one in spec.get("initContainers", [])]
        self.containers = [self._container(one) for one in spec["containers"]]
        self._publisher = asyncio.create_task(self._publish_changes())
        self._task = asyncio.create_task(self._run())

    async def end(self, grace_s: float) -> bool:
        """Stop every container, the polite way first, and leave nothing on this host.

        False when that is under way already.
        """
        if self._ending:
            if grace_s == 0:
                await asyncio.gather(*(one.stop(0) for one in self._all()))
            return False
        self._ending = True
        await asyncio.gather(*(one.stop(grace_s) for one in self._all()))
        for task in (self._task, self._publisher):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        # Once more: one may have been starting when it was told to stop.
        await asyncio.gather(*(one.stop(0) for one in self._all()))
        for one in self._all():
            for log in one.logs:
                log.close()
        for process in marked(POD_MARK, self.uid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        return True

    def container(self, name: str) -> FakeContainer | None:
        return next((one for one in self._all() if one.name == name), None)

    def _all(self) -> list[FakeContainer]:
        return [*self.init_containers, *self.containers]

    @property
    def directory(self) -> Path:
        return self.node.directory / self.uid

    def _container(self, spec: Document) -> FakeContainer:
        root = self.directory / "roots" / spec["name"]
        root.mkdir(parents=True)
        _, name = key_of(self.document)
        launch = Launch(
            uid=self.uid,
            pod=name,
            address=self.address,
            root=root,
            images=self.node.images,
            changed=self._dirty.set,
            warn=lambda reason, message: self._warn(reason, message, spec["name"]),
        )
        return FakeContainer(spec, launch)

    # --- Its life ---

    async def _run(self) -> None:
        self._dirty.set()
        deadline_s = self.document["spec"].get("activeDeadlineSeconds")
        try:
            async with asyncio.timeout(deadline_s):
                await self._run_containers()
        except TimeoutError:
            await asyncio.gather(*(one.stop(0) for one in self._all()))
            for one in self._all():
                one.cut_off()
            self._overdue = True
            self._dirty.set()

    async def _run_containers(self) -> None:
        volumes = Volumes(self.node.api, self.directory, self.node.root)
        await self._prepare(volumes)
        for one in self.init_containers:
            await self._run_container(one, volumes, "Never")
            if one.exit_code != 0:
                return
        restart = self.document["spec"].get("restartPolicy", "Always")
        async with asyncio.TaskGroup() as group:
            for one in self.containers:
                group.create_task(self._run_container(one, volumes, restart))

    async def _prepare(self, volumes: Volumes) -> None:
        """Tries for as long as the pod is there, as a kubelet does."""
        told = ""
        while True:
            try:
                await volumes.prepare(self.document)
            except NotMountable as error:
                if str(error) != told:
                    told = str(error)
                    self._warn("FailedMount", told)
                await asyncio.sleep(0.5)
            else:
                return

    async def _run_container(self, one: FakeContainer, volumes: Volumes, restart: str) -> None:
        document = self._with_addresses()
        try:
            own = await environment_of(self.node.api, document, one.spec)
        except NotMountable as error:
            self._warn("Failed", f"Error: {error}", one.name)
            one.state = {"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}}
            self._dirty.set()
            return
        command = [expanded(text, own) for text in one.spec.get("command", [])]
        arguments = [expanded(text, own) for text in one.spec.get("args", [])]
        if not command:
            image = await one.pulled()
            command = [*image.command]
        mounts = [*volumes.mounts_of(one.spec), self._hosts_file()]
        await one.run([*command, *arguments], own, mounts, restart)

    def _with_addresses(self) -> Document:
        return {**self.document, "status": {**self.document.get("status", {}), **self._addresses()}}

    def _addresses(self) -> Document:
        return {"podIP": self.address, "podIPs": [{"ip": self.address}], "hostIP": "127.0.0.1"}

    def _hosts_file(self) -> dict[str, str | bool]:
        namespace, name = key_of(self.document)
        path = self.directory / "hosts"
        path.write_text(f"{self.node.hosts(namespace)}{self.address}\t{name}\n")
        return {"source": str(path), "path": "/etc/hosts", "readonly": True}

    def _warn(self, reason: str, message: str, container: str = "") -> None:
        self.node.recorder.warn(self.document, reason, message, container)

    # --- Its status ---

    async def _publish_changes(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self.node.api.patch(
                    "Pod", key_of(self.document), {"status": self.status()}, "/status"
                )
            except Refused as refused:
                if refused.status == 404:
                    return
                self._dirty.set()
                await asyncio.sleep(0.1)

    def status(self) -> Document:
        why = "Pod was active on the node longer than the specified deadline"
        return {
            "phase": self._phase(),
            **({"reason": "DeadlineExceeded", "message": why} if self._overdue else {}),
            "startTime": self._started,
            "conditions": self._conditions(),
            "containerStatuses": [one.status() for one in self.containers],
            "initContainerStatuses": [one.status() for one in self.init_containers],
            **self._addresses(),
        }

    def _phase(self) -> str:
        codes = [one.exit_code for one in self.containers]
        restart = self.document["spec"].get("restartPolicy", "Always")
        if self._overdue or any(one.exit_code for one in self.init_containers):
            return "Failed"
        if all(code == 0 for code in codes) and restart != "Always":
            return "Succeeded"
        if all(code is not None for code in codes) and restart == "Never":
            return "Failed"
        return "Running" if all(one.logs for one in self.containers) else "Pending"

    def _conditions(self) -> list[Document]:
        kept = [
            one
            for one in self.document.get("status", {}).get("conditions", [])
            if one["type"] not in ("Initialized", "Ready", "ContainersReady")
        ]
        initialized = all(one.exit_code == 0 for one in self.init_containers)
        unready = [one.name for one in self.containers if not one.ready]
        why = {
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{' '.join(unready)}]",
        }
        return [
            *kept,
            condition("Initialized", initialized),
            *(condition(kind, not unready, **(why if unready else {})) for kind in _READY),
        ]


_READY = ("Ready", "ContainersReady")


def condition(kind: str, holds: bool, **why: str) -> Document:
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "lastTransitionTime": now(), **why}
