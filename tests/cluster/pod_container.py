"""One container of a pod as a process group of this host, and its status as a kubelet tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.api import Document, now
from tests.cluster.container_runtime import ContainerProcesses
from tests.cluster.images import Image, without_registry
from tests.cluster.pod_log import PodLog
from tests.cluster.pod_probe import is_alive

PROBE_EVERY_S = 0.1
PROBE_READY_EVERY_S = 1.0
"""Whatever the pod asks for: tests don't wait for the seconds that real engines need."""
BACK_OFF_S = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""A kubelet's waits before the first, second, … restart of a container that ends."""


@dataclass(frozen=True)
class Launch:
    """Everything that a container's process needs; `changed` is called when its status changes."""

    uid: str
    pod: str
    address: str
    root: Path
    images: Mapping[str, Image]
    changed: Callable[[], None]
    warn: Callable[[str, str], None]


@dataclass
class FakeContainer:
    """`spec` is the container as the pod has it."""

    spec: Document
    launch: Launch
    state: Document = field(default_factory=lambda: waiting("ContainerCreating"))
    last_state: Document = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    logs: list[PodLog] = field(default_factory=list)
    _running: ContainerProcesses | None = None
    _stopping: bool = False

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def exit_code(self) -> int | None:
        """Set once it has ended and has not been started again."""
        ended = self.state.get("terminated")
        return ended["exitCode"] if ended else None

    @property
    def is_running(self) -> bool:
        return self._running is not None and self._running.is_running

    def status(self) -> Document:
        return {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": f"fake://{self.spec['image']}" if self.logs else "",
            "containerID": f"fake://{self.launch.uid}/{self.name}/{self.restarts}",
            "ready": self.ready,
            "started": "running" in self.state,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last_state,
        }

    async def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[Mapping[str, str | bool]],
        restart: str,
    ) -> None:
        """Pull, start, and start again as the pod's restart policy says. Cancel after `stop`."""
        image = await self.pulled()
        while True:
            await self._run_once(image, command, environment, mounts)
            if self._stopping:
                return
            if restart == "Never" or (restart == "OnFailure" and self.exit_code == 0):
                return
            await self._back_off()

    async def stop(self, grace_s: float) -> None:
        """Politely, then by force; it is not started again."""
        self._stopping = True
        if self._running is not None:
            await self._running.stop(grace_s)

    # --- Its image ---

    async def pulled(self) -> Image:
        """The image, once it is known here; until then the status says why not."""
        name = self.spec["image"]
        tried = False
        while (image := self.launch.images.get(without_registry(name))) is None:
            if not tried:
                tried = True
                await self._tell_of_missing_image(name)
            await asyncio.sleep(0.5)
        return image

    async def _tell_of_missing_image(self, name: str) -> None:
        why = (
            f'rpc error: code = NotFound desc = failed to pull and unpack image "{name}": not found'
        )
        self.launch.warn("Failed", f'Failed to pull image "{name}": {why}')
        self.launch.warn("Failed", "Error: ErrImagePull")
        self._set(waiting("ErrImagePull", why))
        await asyncio.sleep(0.5)
        self.launch.warn("Failed", "Error: ImagePullBackOff")
        self._set(waiting("ImagePullBackOff", f'Back-off pulling image "{name}"'))

    # --- Its process ---

    async def _run_once(
        self,
        image: Image,
        command: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[Mapping[str, str | bool]],
    ) -> None:
        log = PodLog()
        self.logs.append(log)
        started = now()
        config = self._config(image, command, environment, mounts)
        running = await ContainerProcesses.start(config, self.launch.uid, self.name, log)
        self._running = running
        self._set({"running": {"startedAt": started}})
        limit = self.spec.get("resources", {}).get("limits", {}).get("memory")
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(running.watch_memory(limit)),
                group.create_task(self._probe()),
            ]
            code = await running.ended()
            for task in watching:
                task.cancel()
        log.close()
        if running.start_error:
            self._not_started(running.start_error, started)
        else:
            self._ended(code, running.killed_for_memory, started, log)

    def _config(
        self,
        image: Image,
        command: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[Mapping[str, str | bool]],
    ) -> Document:
        files = [
            {"source": str(place), "path": path, "readonly": True}
            for path, place in image.files.items()
        ]
        own = {
            "HOSTNAME": self.launch.pod,
            "HOME": "/tmp",
            "FAKE_POD_IP": self.launch.address,
        }
        return {
            "root": str(self.launch.root),
            "mounts": [*files, *mounts],
            "directory": self.spec.get("workingDir", "/"),
            "environment": {**own, **image.environment, **environment},
            "command": [*command],
        }

    async def _probe(self) -> None:
        """Ready once its startup and readiness probes succeed; at once without any."""
        started = self.spec.get("startupProbe")
        while started and not await is_alive(started, self.spec, self.launch.address):
            await asyncio.sleep(PROBE_EVERY_S)
        readiness = self.spec.get("readinessProbe")
        if readiness is None:
            self._set_ready(True)
            return
        while True:
            self._set_ready(await is_alive(readiness, self.spec, self.launch.address))
            await asyncio.sleep(PROBE_READY_EVERY_S if self.ready else PROBE_EVERY_S)

    # --- Its end ---

    def _ended(self, code: int, out_of_memory: bool, started: str, log: PodLog) -> None:
        self.ready = False
        reason = "OOMKilled" if out_of_memory else "Completed" if code == 0 else "Error"
        ended: Document = {
            "exitCode": code,
            "reason": reason,
            "startedAt": started,
            "finishedAt": now(),
        }
        if code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            ended["message"] = log.tail(2048)
        self._set({"terminated": ended})

    def cut_off(self) -> None:
        """It was stopped by force, and nobody waits for its end any more."""
        if started := self.state.get("running"):
            self.logs[-1].close()
            self._ended(137, False, started["startedAt"], self.logs[-1])

    def _not_started(self, why: str, started: str) -> None:
        """In containerd's words."""
        message = f"failed to create containerd task: OCI runtime create failed: {why}: unknown"
        self.launch.warn("Failed", f"Error: {message}")
        self._set(
            {
                "terminated": {
                    "exitCode": 128,
                    "reason": "StartError",
                    "message": message,
                    "startedAt": started,
                    "finishedAt": now(),
                }
            }
        )

    async def _back_off(self) -> None:
        wait_s = BACK_OFF_S[min(self.restarts, len(BACK_OFF_S) - 1)]
        self.last_state = self.state
        if wait_s:
            pod = f"{self.launch.pod}({self.launch.uid})"
            message = f"back-off {wait_s:.0f}s restarting failed container={self.name} pod={pod}"
            self._set(waiting("CrashLoopBackOff", message))
            self.launch.warn("BackOff", "Back-off restarting failed container")
        await asyncio.sleep(wait_s)
        self.restarts += 1

    def _set(self, state: Document) -> None:
        self.state = state
        self.launch.changed()

    def _set_ready(self, ready: bool) -> None:
        if ready != self.ready:
            self.ready = ready
            self.launch.changed()


def waiting(reason: str, message: str = "") -> Document:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
