"""What an InferenceService, its pods and their Events say of an engine. Pure.

Sources: the API reference of Kubernetes for `ContainerStatus`, `PodCondition` and `Event`, the
kubelet's and the scheduler's reasons, and OME's controller (`inferenceservice/controller.go`),
which tells of wrong runtimes and models by Events alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controllers.cluster.objects import Document
from controllers.cluster.pod_log import ContainerRun
from controllers.cluster.runtimes import RUNNER
from controllers.engines.base import Engine
from tuning.domain.failures import Failure, FailureKind

SERVICE_LABEL = "ome.io/inferenceservice"
COMPONENT_LABEL = "component"

_NO_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_NOT_STARTABLE = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
)
NEVER_STARTS = _NO_IMAGE | _NOT_STARTABLE
"""Reasons of a waiting container that don't pass by themselves."""
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
_NO_PROGRAM = ("executable file not found", "no such file or directory")
_MODEL_EVENTS = frozenset({"ModelReconcileError"})
_SPEC_EVENTS = frozenset(
    {
        "PredictorMigrationError",
        "RuntimeReconcileError",
        "RuntimeValidationError",
        "RuntimeFetchError",
        "RuntimeSelectionError",
        "MergeSpecsError",
        "DeploymentModeError",
        "AcceleratorClassError",
        "ServerlessModeRejected",
        "InternalError",
    }
)
_TRIED_AGAIN = "the object has been modified"
"""Two controllers changed an object at once: the next try of the same moment mends it."""
_KINDS_OF_REASONS: Mapping[str, FailureKind] = {
    "BaseModelNotFound": FailureKind.MODEL_MISSING,
    "ModelLoadFailed": FailureKind.MODEL_MISSING,
}
"""Of `lastFailureInfo.reason`; the others are about the runtime or the spec."""
_NOT_YET = "BaseModelNotReady"
"""A model that is still downloaded is waited for."""


@dataclass(frozen=True)
class ContainerEnd:
    """How the engine's container ended. `exit_code` is as the kubelet tells it: 137 for SIGKILL."""

    run: ContainerRun
    exit_code: int | None
    reason: str
    message: str


@dataclass(frozen=True)
class Reading:
    """What is known at one moment.

    `failure` is certain; `suspicion` becomes so when it stays for some seconds, since controllers
    also complain of what they do not know yet. `unschedulable` is the scheduler's reason why there
    is no room. `run` is the life of the engine's container, once it runs or ran, and `end` how that
    ended. `pod` is the one in which the engine runs.
    """

    is_ready: bool = False
    detail: str = ""
    unschedulable: str = ""
    failure: Failure | None = None
    suspicion: Failure | None = None
    run: ContainerRun | None = None
    end: ContainerEnd | None = None
    pod: Document | None = None


def read(
    service: Document, pods: Iterable[Document], events: Iterable[Document], engine: Engine
) -> Reading:
    """The state of the engine that `service` describes."""
    live = sorted(
        (pod for pod in pods if not pod["metadata"].get("deletionTimestamp")),
        key=lambda pod: str(pod["metadata"].get("creationTimestamp")),
    )
    ours = [one for one in events if _is_about(one, service, live)]
    ours.sort(key=_time_of)
    engines = [pod for pod in live if _is_engine(pod)]
    newest = engines[-1] if engines else None
    run, end = _life_of(newest)
    failure = next(
        (found for pod in live for look in _LOOKS if (found := look(pod, ours)) is not None), None
    )
    return Reading(
        is_ready=is_ready(service),
        detail=_detail(newest, ours),
        unschedulable=_unschedulable(live) or ("" if live else _over_quota(ours)),
        failure=failure,
        suspicion=_suspicion(service, live, ours, engine),
        run=run,
        end=end,
        pod=newest if run is not None and end is None else None,
    )


def is_ready(service: Document) -> bool:
    """Whether OME calls the service ready, and means what it is now.

    Without an observed generation the condition alone counts: OME takes that field over from its
    Deployment, and only where it makes one.
    """
    status = service.get("status") or {}
    observed = status.get("observedGeneration")
    if observed is not None and int(observed) < int(service["metadata"].get("generation", 1)):
        return False
    return any(
        one.get("type") == "Ready" and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )


def gpus_of_nodes(nodes: Iterable[Document], resource: str) -> dict[str, int]:
    """How many GPUs of the kind `resource` each node can give to pods, by the node's name."""
    return {
        node["metadata"]["name"]: int(
            ((node.get("status") or {}).get("allocatable") or {}).get(resource, 0)
        )
        for node in nodes
    }


def restarts_of(pods: Iterable[Document], run: ContainerRun) -> int:
    """How often the container of `run` has been restarted by now."""
    statuses = [
        one
        for pod in pods
        if pod["metadata"]["name"] == run.pod
        for one in _statuses(pod)
        if one.get("name") == run.container
    ]
    return max((int(one.get("restartCount") or 0) for one in statuses), default=run.restarts)


def is_over(pods: Sequence[Document], run: ContainerRun) -> bool:
    """Whether the life `run` of a container has ended, also because its pod is gone."""
    pod = next((one for one in pods if one["metadata"]["name"] == run.pod), None)
    if pod is None or restarts_of(pods, run) > run.restarts:
        return True
    states = [one.get("state") or {} for one in _statuses(pod) if one.get("name") == run.container]
    return any("terminated" in state for state in states)


# --- Pods ---


def _is_engine(pod: Document) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(COMPONENT_LABEL, "engine")) == "engine"


def _statuses(pod: Document, field: str = "containerStatuses") -> list[dict[str, Any]]:
    return list((pod.get("status") or {}).get(field) or ())


def _engine_status(pod: Document) -> dict[str, Any] | None:
    """That of OME's own container, or of the only one there is."""
    statuses = _statuses(pod)
    named = [one for one in statuses if one.get("name") == RUNNER]
    return next(iter(named or statuses), None)


def _life_of(pod: Document | None) -> tuple[ContainerRun | None, ContainerEnd | None]:
    """The life of the engine's container that counts: the first that ended, or the one that runs.

    A container that ends is started anew by the kubelet. An experiment is over with the first end.
    """
    status = None if pod is None else _engine_status(pod)
    if pod is None or status is None:
        return None, None
    restarts = int(status.get("restartCount") or 0)
    state, last = status.get("state") or {}, status.get("lastState") or {}
    name = pod["metadata"]["name"]
    if last.get("terminated") and restarts:
        return _ended(ContainerRun(name, status["name"], restarts - 1), last["terminated"])
    if state.get("terminated"):
        return _ended(ContainerRun(name, status["name"], restarts), state["terminated"])
    if state.get("running"):
        return ContainerRun(name, status["name"], restarts), None
    return None, None


def _ended(run: ContainerRun, terminated: Mapping[str, Any]) -> tuple[ContainerRun, ContainerEnd]:
    code = terminated.get("exitCode")
    reason, message = terminated.get("reason") or "", _in_a_line(terminated.get("message"))
    return run, ContainerEnd(run, None if code is None else int(code), reason, message)


def _image_problem(pod: Document, events: Sequence[Document]) -> Failure | None:
    for status in (*_statuses(pod, "initContainerStatuses"), *_statuses(pod)):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason not in _NO_IMAGE:
            continue
        pulls = [
            _in_a_line(one.get("message"))
            for one in events
            if one.get("reason") == "Failed"
            and _involved(one).get("name") == pod["metadata"]["name"]
            and "pull" in str(one.get("message"))
        ]
        said = pulls[0] if pulls else _in_a_line(waiting.get("message"))
        return Failure(
            FailureKind.IMAGE_MISSING,
            f"The image {status.get('image') or 'of the engine'} can't be pulled ({reason}): "
            f"{said or 'the kubelet gives no reason'}.",
        )
    return None


def _start_problem(pod: Document, events: Sequence[Document]) -> Failure | None:
    for status in (*_statuses(pod, "initContainerStatuses"), *_statuses(pod)):
        state = status.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
        if waiting.get("reason") in _NOT_STARTABLE:
            return not_startable(status, waiting)
        if ended.get("reason") in _NOT_STARTED:
            return not_startable(status, ended)
    return None


def not_startable(status: Mapping[str, Any], state: Mapping[str, Any]) -> Failure:
    """Of a container that the kubelet could not even begin."""
    message = _in_a_line(state.get("message"))
    lacks_program = any(words in message for words in _NO_PROGRAM)
    return Failure(
        FailureKind.IMAGE_MISSING if lacks_program else FailureKind.INVALID_SPEC,
        f"The container {status.get('name')} of the image {status.get('image')} can't be started "
        f"({state.get('reason')}): {message or 'the kubelet gives no reason'}.",
    )


def _init_problem(pod: Document, events: Sequence[Document]) -> Failure | None:
    for status in _statuses(pod, "initContainerStatuses"):
        state = status.get("state") or {}
        last = (status.get("lastState") or {}).get("terminated")
        ended = state.get("terminated") or last or {}
        if not ended.get("exitCode"):
            continue
        said = _in_a_line(ended.get("message"))
        return Failure(
            FailureKind.CRASHED,
            f"The init container {status.get('name')}, which runs before the engine, ended with "
            f"exit code {ended['exitCode']}" + (f": {said}." if said else "."),
        )
    return None


def _lost_pod(pod: Document, events: Sequence[Document]) -> Failure | None:
    """Evicted, or refused by its node: then the pod has failed, and not the engine in it."""
    status = pod.get("status") or {}
    reason = status.get("reason")
    if status.get("phase") != "Failed" or not reason:
        return None
    message = _in_a_line(status.get("message"))
    out_of_memory = "memory" in message and reason == "Evicted"
    return Failure(
        FailureKind.OUT_OF_MEMORY if out_of_memory else FailureKind.CRASHED,
        f"The pod {pod['metadata']['name']} was given up by its node ({reason}): {message}.",
    )


def _lost_claim(pod: Document, events: Sequence[Document]) -> Failure | None:
    """A volume that is not there is nothing that a pod can wait for: nobody is about to make it."""
    said = _unschedulable([pod])
    if "persistentvolumeclaim" not in said or "not found" not in said:
        return None
    return Failure(FailureKind.MODEL_MISSING, f"The engine's pod lacks a volume: {said}.")


_LOOKS: Sequence[Callable[[Document, Sequence[Document]], Failure | None]] = (
    _image_problem,
    _start_problem,
    _init_problem,
    _lost_pod,
    _lost_claim,
)


def _unschedulable(pods: Iterable[Document]) -> str:
    for pod in pods:
        for one in (pod.get("status") or {}).get("conditions") or ():
            if one.get("type") == "PodScheduled" and one.get("status") == "False":
                return _in_a_line(one.get("message")) or str(one.get("reason"))
    return ""


# --- Events and OME's own words ---


def _involved(event: Document) -> dict[str, Any]:
    return event.get("involvedObject") or {}


def _is_about(event: Document, service: Document, pods: Iterable[Document]) -> bool:
    """About this service, and not about an earlier one of the same name."""
    involved = _involved(event)
    uids = {service["metadata"]["uid"], *(pod["metadata"]["uid"] for pod in pods)}
    if involved.get("kind") in {"InferenceService", "Pod"}:
        return str(involved.get("uid")) in uids
    return _time_of(event) >= str(service["metadata"].get("creationTimestamp"))


def _time_of(event: Document) -> str:
    """All of them are RFC 3339 in UTC, so that they compare as texts."""
    created = event["metadata"].get("creationTimestamp")
    return str(event.get("lastTimestamp") or event.get("eventTime") or created)


def _over_quota(events: Iterable[Document]) -> str:
    for event in events:
        message = _in_a_line(event.get("message"))
        if event.get("reason") == "FailedCreate" and "exceeded quota" in message:
            return message
    return ""


def _suspicion(
    service: Document, pods: Sequence[Document], events: Sequence[Document], engine: Engine
) -> Failure | None:
    model_status = (service.get("status") or {}).get("modelStatus") or {}
    told = _failed_load(model_status, engine)
    if told is not None or pods:
        return told
    for event in reversed(events):
        reason, message = event.get("reason"), _in_a_line(event.get("message"))
        if event.get("type") != "Warning" or _TRIED_AGAIN in message:
            continue
        if reason in _MODEL_EVENTS:
            return Failure(FailureKind.MODEL_MISSING, f"OME can't use the model: {message}.")
        if reason in _SPEC_EVENTS:
            return Failure(FailureKind.INVALID_SPEC, f"OME can't run this ({reason}): {message}.")
        if reason == "FailedCreate" and "exceeded quota" not in message:
            return Failure(
                FailureKind.INVALID_SPEC, f"The cluster refuses the engine's pod: {message}."
            )
    return None


def _failed_load(status: Mapping[str, Any], engine: Engine) -> Failure | None:
    info = status.get("lastFailureInfo") or {}
    transition, reason = status.get("transitionStatus"), info.get("reason")
    if transition not in {"BlockedByFailedLoad", "InvalidSpec"} or reason == _NOT_YET:
        return None
    message = _in_a_line(info.get("message")) or "OME gives no reason"
    said = f"OME says {transition}" + (f" ({reason})" if reason else "") + f": {message}."
    if transition == "InvalidSpec":
        return Failure(_KINDS_OF_REASONS.get(reason or "", FailureKind.INVALID_SPEC), said)
    told = engine.classify_exit([message], info.get("exitCode"))
    kind = FailureKind.MODEL_MISSING if told.kind is FailureKind.CRASHED else told.kind
    return Failure(kind, said)


def _detail(pod: Document | None, events: Sequence[Document]) -> str:
    """What a starting engine waits for."""
    warnings = [one for one in events if one.get("type") == "Warning"]
    complaint = _in_a_line(warnings[-1].get("message")) if warnings else ""
    if pod is None:
        return complaint or "OME has not made its pod yet"
    status = _engine_status(pod) or {}
    if (status.get("state") or {}).get("running"):
        return "the engine is loading"
    return complaint or f"the pod {pod['metadata']['name']} is being prepared"


def _in_a_line(text: object) -> str:
    return " ".join(str(text or "").split()).rstrip(".")
