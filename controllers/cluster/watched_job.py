"""One BenchmarkJob in the cluster: made, followed to its end, and removed with its pods."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from controllers.base import DeploymentError
from controllers.cluster.connection import asking, failure_of
from controllers.cluster.objects import (
    BENCHMARK_JOB,
    POD,
    Document,
    create,
    delete,
    find,
    list_objects,
)
from controllers.cluster.pod_log import ContainerRun, PodLog
from controllers.cluster.readings import NEVER_STARTS
from controllers.cluster.watching import ObjectWatch
from tuning.domain.failures import FailureKind

logger = logging.getLogger(__name__)

LOG_PATIENCE_S = 5.0
"""For the last lines of a pod that has ended."""
_SILENCE_S = 60.0
"""How long the API server may be away while a job runs: it goes on without."""
_REMOVAL_S = 30.0
_REMOVAL_LOOK_S = 0.3
_GRACE_S = 1


class JobState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class JobReading:
    """What is known of a job at one moment. `reason` is why it failed; `detail`, for people, what
    it waits for. `run` is the life of the benchmark's container, once there is one."""

    state: JobState
    detail: str = ""
    reason: str = ""
    run: ContainerRun | None = None
    has_ended: bool = False


def read_job(job: Document | None, pods: Iterable[Document]) -> JobReading:
    """What a BenchmarkJob and its pods say. Pure; None stands for a job that is not there."""
    if job is None:
        return JobReading(JobState.FAILED, reason="the BenchmarkJob was deleted by somebody else")
    pod = next(iter(sorted(pods, key=_age, reverse=True)), None)
    run, ended = _life(pod)
    status = job.get("status") or {}
    state, said = status.get("state"), status.get("failureMessage") or "OME gives no reason"
    stuck = _stuck(pod)
    if state == "Completed":
        return JobReading(JobState.COMPLETED, run=run, has_ended=True)
    if state == "Failed":
        return JobReading(JobState.FAILED, reason=_with_end(said, ended), run=run, has_ended=True)
    if stuck:
        return JobReading(JobState.FAILED, reason=stuck, run=run, has_ended=True)
    if run is not None:
        return JobReading(JobState.RUNNING, run=run, has_ended=ended is not None)
    return JobReading(JobState.WAITING, detail=_waits_for(job, pod))


class WatchedJob:
    """Follows one job until it is removed. `log` is told each line of its container."""

    def __init__(self, client: ApiClient, document: Document, log: Callable[[str], None]) -> None:
        self._client = client
        self._document = document
        self._name = document["metadata"]["name"]
        self._namespace = document["metadata"]["namespace"]
        self._log = log
        self._pod_log: PodLog | None = None
        self._changed = threading.Event()
        self._latest = JobReading(JobState.WAITING)
        self._watches: tuple[ObjectWatch, ...] = ()

    def make(self) -> None:
        """Create the job and begin to follow it.

        Raises:
            DeploymentError: the cluster refuses it, or does not answer.
        """
        with asking(self._client, f"create the BenchmarkJob {self._name}"):
            try:
                create(self._client, BENCHMARK_JOB, self._document, self._namespace)
            except ApiException as error:
                if error.status != 409 or not self._is_ours():
                    raise
        place, changed = self._namespace, self._changed.set
        self._watches = (
            ObjectWatch(
                self._client, BENCHMARK_JOB, place, changed, fields=f"metadata.name={self._name}"
            ),
            ObjectWatch(self._client, POD, place, changed, labels=f"job-name={self._name}"),
        )

    def look(self, patience_s: float) -> JobReading:
        """How it stands, at the next change or after `patience_s` seconds.

        Raises:
            DeploymentError: we may not look, or the API server has been away for too long.
        """
        self._changed.wait(patience_s)
        self._changed.clear()
        jobs, pods = self._watches
        for watch in self._watches:
            if watch.refusal is not None:
                failure = failure_of(watch.refusal, f"follow the BenchmarkJob {self._name}")
                raise DeploymentError(failure.kind, failure.message)
            if watch.silent_s() > _SILENCE_S:
                raise DeploymentError(
                    FailureKind.CLUSTER_UNAVAILABLE,
                    f"The API server has not answered for {_SILENCE_S:g} s while the BenchmarkJob "
                    f"{self._name} ran.",
                )
        if jobs.is_listed and pods.is_listed:
            self._latest = read_job(next(iter(jobs.objects), None), pods.objects)
            self._follow_log(self._latest)
        return self._latest

    def await_log(self) -> None:
        """Wait until the lines of a job that has ended have been passed on."""
        if self._pod_log is not None:
            self._pod_log.join(LOG_PATIENCE_S)

    def remove(self) -> None:
        """Delete the job and its pods, and wait until they are gone. Never raises.

        What an API server that is away keeps goes with the InferenceService, which owns it.
        """
        for watch in self._watches:
            watch.close()
        if self._pod_log is not None:
            self._pod_log.close()
        deadline = time.monotonic() + _REMOVAL_S
        while time.monotonic() < deadline:
            try:
                if self._is_removed():
                    return
            except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
                logger.warning("deleting the BenchmarkJob %s: %s", self._name, error)
            time.sleep(_REMOVAL_LOOK_S)
        logger.error("The BenchmarkJob %s is still there", self._name)

    def _is_removed(self) -> bool:
        """Ask for what is still there to go, and say whether nothing was."""
        job = find(self._client, BENCHMARK_JOB, self._name, self._namespace)
        if job is not None and not job["metadata"].get("deletionTimestamp"):
            delete(self._client, BENCHMARK_JOB, self._name, self._namespace, foreground=True)
        pods = list_objects(self._client, POD, self._namespace, f"job-name={self._name}")
        for pod in pods:
            # Nothing in them is worth the half minute that pods are given to end.
            if not pod["metadata"].get("deletionTimestamp"):
                name = pod["metadata"]["name"]
                delete(self._client, POD, name, self._namespace, grace_s=_GRACE_S)
        return job is None and not pods

    def _is_ours(self) -> bool:
        """Whether the job that is there is the one that is to be made: an answer was lost."""
        there = find(self._client, BENCHMARK_JOB, self._name, self._namespace) or {}
        wanted = self._document["spec"]["resultFolderName"]
        return bool((there.get("spec") or {}).get("resultFolderName") == wanted)

    def _follow_log(self, reading: JobReading) -> None:
        if reading.run is not None and self._pod_log is None:
            self._pod_log = PodLog(
                self._client,
                self._namespace,
                reading.run,
                self._log,
                has_ended=lambda: self._latest.has_ended,
                restarts_now=lambda: 0,
            )


def _age(pod: Document) -> str:
    return str(pod["metadata"].get("creationTimestamp"))


def _container(pod: Document | None) -> Mapping[str, Any]:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or ()
    return next(iter(statuses), {})


def _life(pod: Document | None) -> tuple[ContainerRun | None, Mapping[str, Any] | None]:
    """The container's run, and how it ended if it has."""
    container = _container(pod)
    state = container.get("state") or {}
    if pod is None or not (state.get("running") or state.get("terminated")):
        return None, None
    run = ContainerRun(pod["metadata"]["name"], container["name"], 0)
    return run, state.get("terminated")


def _stuck(pod: Document | None) -> str:
    waiting = (_container(pod).get("state") or {}).get("waiting") or {}
    if waiting.get("reason") not in NEVER_STARTS:
        return ""
    message = waiting.get("message") or "no reason is given"
    return f"its pod can't start ({waiting['reason']}): {message}"


def _with_end(said: str, ended: Mapping[str, Any] | None) -> str:
    if ended is None:
        return said
    reason = f"{ended['reason']}, " if ended.get("reason") not in {None, "Error"} else ""
    return f"{said} ({reason}exit code {ended.get('exitCode')})"


def _waits_for(job: Document, pod: Document | None) -> str:
    for condition in ((pod or {}).get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason"))
    if pod is not None:
        return "its pod is being prepared"
    return "OME has not made its pod yet"
