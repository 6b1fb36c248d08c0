"""What a cluster says of an engine, in documents as kubelet, scheduler and OME write them."""

from __future__ import annotations

from typing import Any

import pytest

from controllers.cluster.pod_log import ContainerRun
from controllers.cluster.readings import Reading, gpus_of_nodes, is_over, read, restarts_of
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.failures import FailureKind

Document = dict[str, Any]

NAME = "autotuner-x-t1-e2-a1"
POD = f"{NAME}-engine-5d9c-abcde"
CREATED = "2026-05-01T10:00:00Z"


def service(generation: int = 1, **status: Any) -> Document:
    metadata = {"name": NAME, "uid": "service", "creationTimestamp": CREATED}
    return {"metadata": {**metadata, "generation": generation}, "status": status}


def ready(is_true: bool = True) -> list[Document]:
    return [{"type": "Ready", "status": str(is_true)}]


def pod(
    *containers: Document,
    name: str = POD,
    created: str = CREATED,
    component: str = "engine",
    deleted: bool = False,
    **status: Any,
) -> Document:
    metadata: Document = {
        "name": name,
        "uid": f"uid-{name}",
        "creationTimestamp": created,
        "labels": {"ome.io/inferenceservice": NAME, "component": component},
    }
    if deleted:
        metadata["deletionTimestamp"] = created
    status = {"containerStatuses": list(containers), **status}
    return {"metadata": metadata, "spec": {"nodeName": "gpu-a"}, "status": status}


def container(
    state: Document, last: Document | None = None, restarts: int = 0, name: str = "ome-container"
) -> Document:
    return {
        "name": name,
        "image": "engine:v1",
        "state": state,
        "lastState": last or {},
        "restartCount": restarts,
    }


def waiting(reason: str, message: str = "") -> Document:
    return {"waiting": {"reason": reason, "message": message}}


def terminated(code: int, reason: str = "Error", message: str = "") -> Document:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


RUNNING: Document = {"running": {"startedAt": CREATED}}


def unschedulable(message: str) -> Document:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    }
    return pod(phase="Pending", conditions=[condition])


def event(
    reason: str,
    message: str,
    kind: str = "InferenceService",
    uid: str = "service",
    name: str = NAME,
    at: str = "2026-05-01T10:00:05Z",
) -> Document:
    return {
        "metadata": {"creationTimestamp": at},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        "involvedObject": {"kind": kind, "uid": uid, "name": name},
    }


def reading(
    *pods: Document, events: list[Document] | None = None, of: Document | None = None
) -> Reading:
    return read(of or service(), list(pods), events or [], FakeEngineKind())


# --- Ready ---


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (service(), False),
        (service(conditions=ready(), observedGeneration=1), True),
        (service(conditions=ready(False), observedGeneration=1), False),
        (service(2, conditions=ready(), observedGeneration=1), False),
        # Taken over from the Deployment, which may be ahead of the service.
        (service(1, conditions=ready(), observedGeneration=3), True),
        (service(conditions=ready()), True),
        (service(conditions=[{"type": "EngineReady", "status": "True"}]), False),
    ],
)
def test_ready_is_what_ome_says_of_the_service_as_it_is_now(
    document: Document, expected: bool
) -> None:
    assert reading(of=document).is_ready is expected


# --- Which life of which container ---


def test_the_engine_is_followed_from_the_moment_it_runs() -> None:
    assert reading(pod(container(waiting("ContainerCreating")))).run is None
    found = reading(pod(container(RUNNING)))
    assert found.run == ContainerRun(POD, "ome-container", 0)
    assert found.pod is not None
    assert found.end is None


def test_its_own_container_counts_and_no_other() -> None:
    proxy = container(terminated(1), name="istio-proxy")
    found = reading(pod(proxy, container(RUNNING)))
    assert found.run == ContainerRun(POD, "ome-container", 0)
    assert found.end is None


def test_the_newest_pod_counts_and_none_that_goes() -> None:
    old = pod(container(terminated(143)), name="old", deleted=True)
    newer = pod(container(RUNNING), name="newer", created="2026-05-01T10:00:09Z")
    assert reading(newer, old).run == ContainerRun("newer", "ome-container", 0)
    router = pod(
        container(terminated(1)), name="z", component="router", created="2026-05-01T10:01:00Z"
    )
    assert reading(router, newer).run == ContainerRun("newer", "ome-container", 0)


@pytest.mark.parametrize(
    ("status", "life", "code"),
    [
        (container(terminated(3)), 0, 3),
        (container(waiting("CrashLoopBackOff"), terminated(3), 1), 0, 3),
        (container(RUNNING, terminated(3), 1), 0, 3),
        (container(terminated(4), terminated(3), 2), 1, 3),
        (container(terminated(0, "Completed")), 0, 0),
    ],
)
def test_the_first_end_that_can_be_seen_is_the_end(status: Document, life: int, code: int) -> None:
    end = reading(pod(status)).end
    assert end is not None
    assert (end.run.restarts, end.exit_code) == (life, code)
    assert reading(pod(status)).pod is None


def test_a_life_is_over_when_its_container_ended_or_began_anew_or_its_pod_is_gone() -> None:
    life = ContainerRun(POD, "ome-container", 0)
    assert not is_over([pod(container(RUNNING))], life)
    assert is_over([pod(container(terminated(1)))], life)
    assert is_over([pod(container(RUNNING, terminated(1), 1))], life)
    assert is_over([], life)
    assert restarts_of([pod(container(RUNNING, terminated(1), 2))], life) == 2
    assert restarts_of([], life) == 0


# --- Failures of the cluster's ---


def failure_of(*pods: Document, events: list[Document] | None = None) -> tuple[FailureKind, str]:
    failure = reading(*pods, events=events).failure
    assert failure is not None
    assert "\n" not in failure.message
    return failure.kind, failure.message


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_can_not_be_pulled(reason: str) -> None:
    kind, message = failure_of(pod(container(waiting(reason, "manifest unknown"))))
    assert kind is FailureKind.IMAGE_MISSING
    assert all(part in message for part in ("engine:v1", reason, "manifest unknown"))


def test_the_registry_s_own_words_are_told_rather_than_the_back_off() -> None:
    told = event(
        "Failed",
        'Failed to pull image "engine:v1": 401 Unauthorized',
        kind="Pod",
        uid=f"uid-{POD}",
        name=POD,
    )
    back_off = pod(container(waiting("ImagePullBackOff", 'Back-off pulling image "engine:v1"')))
    assert "401 Unauthorized" in failure_of(back_off, events=[told])[1]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (waiting("CreateContainerConfigError", 'secret "hub" not found'), FailureKind.INVALID_SPEC),
        (
            terminated(128, "StartError", 'exec: "vllm": executable file not found in $PATH'),
            FailureKind.IMAGE_MISSING,
        ),
        (terminated(127, "ContainerCannotRun", "permission denied"), FailureKind.INVALID_SPEC),
    ],
)
def test_a_container_that_can_not_be_started(state: Document, kind: FailureKind) -> None:
    told, message = failure_of(pod(container(state)))
    assert told is kind
    (inner,) = state.values()
    assert inner["message"] in message


def test_an_init_container_that_fails() -> None:
    init = container(terminated(2, message="no such bucket"), name="model-init")
    broken = pod(container(waiting("PodInitializing")), initContainerStatuses=[init])
    kind, message = failure_of(broken)
    assert kind is FailureKind.CRASHED
    assert all(part in message for part in ("model-init", "exit code 2", "no such bucket"))
    done = container(terminated(0, "Completed"), name="model-init")
    assert reading(pod(container(RUNNING), initContainerStatuses=[done])).failure is None


@pytest.mark.parametrize(
    ("reason", "message", "kind"),
    [
        ("Evicted", "The node was low on resource: memory.", FailureKind.OUT_OF_MEMORY),
        ("Evicted", "The node was low on resource: ephemeral-storage.", FailureKind.CRASHED),
        ("UnexpectedAdmissionError", "Allocate failed: no healthy devices", FailureKind.CRASHED),
    ],
)
def test_a_pod_that_its_node_gave_up(reason: str, message: str, kind: FailureKind) -> None:
    told, said = failure_of(pod(phase="Failed", reason=reason, message=message))
    assert told is kind
    assert message.rstrip(".") in said


def test_a_volume_that_is_not_there_is_not_waited_for() -> None:
    said = '0/2 nodes are available: persistentvolumeclaim "weights" not found.'
    kind, message = failure_of(unschedulable(said))
    assert kind is FailureKind.MODEL_MISSING
    assert '"weights"' in message


# --- Waiting for room ---


def test_no_room_is_the_scheduler_s_word_and_no_failure() -> None:
    said = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    found = reading(unschedulable(said))
    assert found.unschedulable == said.rstrip(".")
    assert found.failure is None
    assert found.suspicion is None


def test_a_quota_that_is_used_up_is_waited_for_too() -> None:
    said = 'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1'
    told = event("FailedCreate", said, kind="ReplicaSet", uid="rs", name=f"{NAME}-engine-5d9c")
    assert "exceeded quota" in reading(events=[told]).unschedulable
    assert reading(events=[told]).suspicion is None
    assert reading(pod(container(RUNNING)), events=[told]).unschedulable == ""


def test_what_nodes_can_give() -> None:
    nodes: list[Document] = [
        {"metadata": {"name": "a"}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}},
        {"metadata": {"name": "b"}, "status": {"allocatable": {"cpu": "4"}}},
        {"metadata": {"name": "c"}},
    ]
    assert gpus_of_nodes(nodes, "nvidia.com/gpu") == {"a": 8, "b": 0, "c": 0}


# --- What OME complains of ---


def suspected(**known: Any) -> tuple[FailureKind, str]:
    suspicion = reading(**known).suspicion
    assert suspicion is not None
    return suspicion.kind, suspicion.message


def model_status(transition: str, reason: str, message: str, **info: Any) -> Document:
    failure = {"reason": reason, "message": message, **info}
    return service(modelStatus={"transitionStatus": transition, "lastFailureInfo": failure})


@pytest.mark.parametrize(
    ("transition", "reason", "message", "kind"),
    [
        ("InvalidSpec", "BaseModelNotFound", "No BaseModel: lost", FailureKind.MODEL_MISSING),
        ("InvalidSpec", "RuntimeDisabled", "is disabled", FailureKind.INVALID_SPEC),
        ("InvalidSpec", "InvalidPredictorSpec", "no container", FailureKind.INVALID_SPEC),
        ("BlockedByFailedLoad", "ModelLoadFailed", "no weights", FailureKind.MODEL_MISSING),
        (
            "BlockedByFailedLoad",
            "ModelLoadFailed",
            "torch.OutOfMemoryError: CUDA out of memory",
            FailureKind.OUT_OF_MEMORY,
        ),
    ],
)
def test_what_ome_says_of_the_model(
    transition: str, reason: str, message: str, kind: FailureKind
) -> None:
    told, said = suspected(of=model_status(transition, reason, message))
    assert told is kind
    assert all(part in said for part in (transition, reason, message))


def test_a_model_that_is_still_fetched_is_waited_for() -> None:
    document = model_status("InvalidSpec", "BaseModelNotReady", "Waiting for the base model")
    assert reading(of=document).suspicion is None


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("ModelReconcileError", FailureKind.MODEL_MISSING),
        ("RuntimeValidationError", FailureKind.INVALID_SPEC),
        ("RuntimeReconcileError", FailureKind.INVALID_SPEC),
        ("MergeSpecsError", FailureKind.INVALID_SPEC),
        ("InternalError", FailureKind.INVALID_SPEC),
    ],
)
def test_what_ome_says_in_events_counts_while_there_is_no_pod(
    reason: str, kind: FailureKind
) -> None:
    told = [event(reason, "the runtime fake is\ndisabled")]
    assert suspected(events=told)[0] is kind
    assert "the runtime fake is disabled" in suspected(events=told)[1]
    assert reading(pod(container(RUNNING)), events=told).suspicion is None


@pytest.mark.parametrize(
    "told",
    [
        event("RuntimeCompatibilityAdvisory", "proceeding anyway"),
        event("InternalError", "Operation cannot be fulfilled: the object has been modified"),
        event("RuntimeReconcileError", "of an earlier one of the same name", uid="another"),
        event(
            "FailedCreate",
            "of an earlier one",
            kind="ReplicaSet",
            uid="rs",
            name=f"{NAME}-engine-1",
            at="2026-05-01T09:59:59Z",
        ),
    ],
)
def test_what_does_not_count(told: Document) -> None:
    assert reading(events=[told]).suspicion is None


def test_a_pod_that_the_cluster_refuses() -> None:
    said = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    told = event("FailedCreate", said, kind="ReplicaSet", uid="rs", name=f"{NAME}-engine-5d9c")
    assert suspected(events=[told]) == (
        FailureKind.INVALID_SPEC,
        f"The cluster refuses the engine's pod: {said}.",
    )


# --- What it waits for ---


def test_people_are_told_what_a_starting_engine_waits_for() -> None:
    assert "OME has not made its pod" in reading().detail
    assert POD in reading(pod(container(waiting("ContainerCreating")))).detail
    mount = event("FailedMount", "no such disk", kind="Pod", uid=f"uid-{POD}", name=POD)
    assert reading(pod(container(waiting("ContainerCreating"))), events=[mount]).detail == (
        "no such disk"
    )
    assert "loading" in reading(pod(container(RUNNING)), events=[mount]).detail
