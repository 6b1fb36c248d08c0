"""One deployed engine as the cluster shows it, from its creation to its end."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.cluster.connection import failure_of
from controllers.cluster.objects import (
    EVENT,
    INFERENCE_SERVICE,
    NODE,
    POD,
    Document,
    find,
    list_objects,
)
from controllers.cluster.pod_log import ContainerRun, PodLog
from controllers.cluster.readings import (
    SERVICE_LABEL,
    ContainerEnd,
    Reading,
    gpus_of_nodes,
    is_over,
    read,
    restarts_of,
)
from controllers.cluster.watching import ObjectWatch
from controllers.engines.base import Engine
from tuning.domain.failures import Failure, FailureKind

SETTLE_S = 5.0
"""How long a complaint has to stand: controllers also complain of what they have not seen yet."""
AWAY_S = 60.0
"""How long the API server may be silent: one that is upgraded is back within a minute. The engine
goes on meanwhile."""
LAST_WORDS_S = 1.5
"""How many seconds the last lines of an engine that has just died may take to arrive."""
SHELL_SIGNALS = range(129, 128 + 65)
"""Exit codes that mean a signal, in a shell's spelling, which is how a kubelet gives it."""
PRODUCT_LABEL = "nvidia.com/gpu.product"

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What was asked of the cluster: `gpus` of the kind `gpu_resource`, and for how many seconds
    the engine may wait for room."""

    gpus: int
    gpu_resource: str
    pending_timeout_s: float


@dataclass(frozen=True)
class EngineView:
    """What an engine does now. `failure` is set once it is gone for good."""

    reading: Reading
    failure: Failure | None = None


class EngineWatch:
    """Follows an InferenceService, its pods, their Events and the engine's log until it is closed.

    `log` is given the engine's lines. Methods may be called from several threads; none of them asks
    the cluster anything.
    """

    def __init__(
        self,
        client: ApiClient,
        service: Document,
        engine: Engine,
        wanted: Wanted,
        log: Callable[[str], None],
    ) -> None:
        self._client = client
        self._service = service
        self._name: str = service["metadata"]["name"]
        self._namespace: str = service["metadata"]["namespace"]
        self._engine = engine
        self._wanted = wanted
        self._log = log
        self._guard = threading.RLock()
        self._reading = Reading()
        self._failure: Failure | None = None
        self._logs: list[PodLog] = []
        self._served_by: str | None = None
        self._unschedulable_since: float | None = None
        self._suspected_since: float | None = None
        self._most_gpus: int | None = None
        self._node: Document | None = None
        self._asked_for: set[str] = set()
        with self._guard:
            # They tell of changes before they are all there.
            self._services, self._pods, self._events = self._watches()

    @property
    def service(self) -> Document:
        """The InferenceService as it was last seen."""
        return self._service

    @property
    def pod_name(self) -> str | None:
        """The pod in which the engine runs now."""
        pod = self._reading.pod
        return None if pod is None else str(pod["metadata"]["name"])

    def view(self) -> EngineView:
        """The engine now. Takes at most `LAST_WORDS_S`, and that once, when it has died."""
        reading = self._take_in()
        if self._failure is None:
            failure = self._judged(reading)
            with self._guard:
                self._failure = self._failure or failure
        return EngineView(reading, self._failure)

    def lines(self, count: int) -> list[str]:
        """The last `count` lines of the engine's log, oldest first."""
        lines = [line for log in list(self._logs) for line in log.lines()]
        return lines[-count:] if count > 0 else []

    def facts(self) -> dict[str, Any]:
        """Where and of which image the engine runs, as far as that is known."""
        pod = self._reading.pod
        if pod is None:
            return {}
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        run = self._reading.run
        image: Document = next(
            (one for one in statuses if run and one["name"] == run.container), {}
        )
        node_labels = ((self._node or {}).get("metadata") or {}).get("labels") or {}
        known = {
            "image": image.get("image"),
            "image_digest": _digest(str(image.get("imageID") or "")),
            "node": (pod.get("spec") or {}).get("nodeName"),
            "gpu_model": node_labels.get(PRODUCT_LABEL),
        }
        return {name: fact for name, fact in known.items() if fact}

    def close(self) -> None:
        """Follow nothing any more. Calling it twice is no error."""
        for watch in (self._services, self._pods, self._events):
            watch.close()
        for log in list(self._logs):
            log.close()

    # --- Taking in ---

    def _watches(self) -> tuple[ObjectWatch, ObjectWatch, ObjectWatch]:
        def watch(kind: Any, **choice: Any) -> ObjectWatch:
            return ObjectWatch(self._client, kind, self._namespace, self._changed, **choice)

        return (
            watch(INFERENCE_SERVICE, fields=f"metadata.name={self._name}"),
            watch(POD, labels=f"{SERVICE_LABEL}={self._name}"),
            watch(EVENT, keep=self._is_about_us),
        )

    def _is_about_us(self, event: Document) -> bool:
        name = str((event.get("involvedObject") or {}).get("name"))
        return name == self._name or name.startswith(f"{self._name}-")

    def _changed(self) -> None:
        reading = self._take_in()
        node = None if reading.pod is None else reading.pod["spec"].get("nodeName")
        if node and self._first_time("its node"):
            self._node = self._readable(lambda: find(self._client, NODE, node))
        if reading.unschedulable and self._wanted.gpus and self._first_time("all nodes"):
            nodes = self._readable(lambda: list_objects(self._client, NODE))
            if nodes is not None:
                gpus = gpus_of_nodes(nodes, self._wanted.gpu_resource)
                self._most_gpus = max(gpus.values(), default=0)

    def _take_in(self) -> Reading:
        with self._guard:
            if not all(one.is_listed for one in (self._services, self._pods, self._events)):
                return self._reading
            self._service = next(iter(self._our_service()), self._service)
            reading = read(self._service, self._pods.objects, self._events.objects, self._engine)
            if reading.run is not None and all(log.run != reading.run for log in self._logs):
                self._follow(reading.run)
            if reading.is_ready and reading.run is not None:
                self._served_by = self._served_by or reading.run.pod
            self._unschedulable_since = _since(self._unschedulable_since, reading.unschedulable)
            self._suspected_since = _since(self._suspected_since, reading.suspicion)
            self._reading = reading
            return reading

    def _our_service(self) -> list[Document]:
        """One of the same name that somebody made after ours was deleted is another."""
        ours = self._service["metadata"]["uid"]
        return [one for one in self._services.objects if one["metadata"]["uid"] == ours]

    def _follow(self, run: ContainerRun) -> None:
        self._logs.append(
            PodLog(
                self._client,
                self._namespace,
                run,
                self._log,
                has_ended=lambda: is_over(self._pods.objects, run),
                restarts_now=lambda: restarts_of(self._pods.objects, run),
            )
        )

    def _first_time(self, what: str) -> bool:
        with self._guard:
            is_new = what not in self._asked_for
            self._asked_for.add(what)
            return is_new

    def _readable(self, ask: Callable[[], Answer]) -> Answer | None:
        """What is good to know and need not be readable."""
        try:
            return ask()
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            logger.info("nodes can't be read for %s: %s", self._name, error)
            return None

    # --- Judging ---

    def _judged(self, reading: Reading) -> Failure | None:
        """Why the engine is gone, or None while there is hope."""
        return (
            self._unwatchable()
            or self._vanished(reading)
            or reading.failure
            or (self._cause_of(reading.end) if reading.end is not None else None)
            or self._without_room(reading)
            or (reading.suspicion if _stands(self._suspected_since, SETTLE_S) else None)
        )

    def _unwatchable(self) -> Failure | None:
        watches = {"InferenceServices": self._services, "pods": self._pods, "Events": self._events}
        for what, watch in watches.items():
            if watch.refusal is not None:
                return failure_of(watch.refusal, f"watch {what} in {self._namespace}")
            if watch.silent_s() > AWAY_S:
                return Failure(
                    FailureKind.CLUSTER_UNAVAILABLE,
                    f"The Kubernetes API server {self._client.configuration.host} has not answered "
                    f"for {AWAY_S:g} s.",
                )
        return None

    def _vanished(self, reading: Reading) -> Failure | None:
        if not self._services.is_listed or not self._pods.is_listed:
            return None
        if not self._our_service():
            return self._taken_away(f"The InferenceService {self._name} was deleted")
        served_by = self._served_by
        pods = {one["metadata"]["name"]: one for one in self._pods.objects}
        if served_by is None:
            return None
        if served_by not in pods or pods[served_by]["metadata"].get("deletionTimestamp"):
            why = _disruption(pods.get(served_by))
            return self._taken_away(f"The engine's pod {served_by} was deleted{why}")
        return None

    def _taken_away(self, what: str) -> Failure:
        return Failure(FailureKind.CRASHED, f"{what}, and not by the autotuner.")

    def _cause_of(self, end: ContainerEnd) -> Failure:
        """As the engine's own rules have it, unless the kubelet knows better."""
        log = next((one for one in self._logs if one.run == end.run), None)
        if log is not None:
            log.join(LAST_WORDS_S)
        lines = log.lines() if log is not None else []
        name, code = self._engine.name, end.exit_code
        if end.reason == "OOMKilled":
            return Failure(
                FailureKind.OUT_OF_MEMORY,
                f"The kernel killed {name} for want of memory (OOMKilled): its container's limit, "
                "or the node's.",
            )
        if code is not None and code in SHELL_SIGNALS:
            code = 128 - code
        if code != -signal.SIGKILL:
            return self._engine.classify_exit(lines, code)
        # Not by the kernel for want of memory: the kubelet would have told of that.
        failure = self._engine.classify_exit(lines, None)
        if failure.kind is FailureKind.CRASHED:
            return Failure(FailureKind.CRASHED, f"{name} was killed by SIGKILL, from outside.")
        return failure

    def _without_room(self, reading: Reading) -> Failure | None:
        if not reading.unschedulable:
            return None
        wanted, most = self._wanted, self._most_gpus
        said = f"The scheduler says: {reading.unschedulable}."
        if most is not None and most < wanted.gpus:
            has = f"no node of the cluster has more than {most}" if most else "no node has any"
            return Failure(
                FailureKind.TOO_FEW_GPUS,
                f"The configuration takes {wanted.gpus} {wanted.gpu_resource}; {has}. {said}",
            )
        if not _stands(self._unschedulable_since, wanted.pending_timeout_s):
            return None
        for_gpus = wanted.gpu_resource in reading.unschedulable
        return Failure(
            FailureKind.TOO_FEW_GPUS if for_gpus else FailureKind.STARTUP_TIMEOUT,
            f"There was no room for the engine for {wanted.pending_timeout_s:g} s. {said}",
        )


def _digest(image_id: str) -> str | None:
    """Of `registry.example/x@sha256:…`, as runtimes spell it with or without a scheme in front."""
    _, _, last = image_id.rpartition("@")
    return last if last.startswith("sha256:") else None


def _since(before: float | None, holds: object) -> float | None:
    """Since when something holds that has held since `before`; None while it does not."""
    if not holds:
        return None
    return time.monotonic() if before is None else before


def _stands(since: float | None, for_s: float) -> bool:
    return since is not None and time.monotonic() - since >= for_s


def _disruption(pod: Document | None) -> str:
    """Why the cluster took a pod away, where it says so (Kubernetes 1.25 and later)."""
    conditions = ((pod or {}).get("status") or {}).get("conditions") or ()
    said = [str(one.get("message")) for one in conditions if one.get("type") == "DisruptionTarget"]
    return f" ({said[0]})" if said else ""
