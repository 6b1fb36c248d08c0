"""What becomes of deployments in a cluster: each end is provoked for real and told in its words."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controllers.base import EngineState
from controllers.ome import OmeController
from tests.cluster.deployments import (
    Place,
    failure_of,
    place,
    ready,
    refusal_of,
    status_when,
)
from tests.cluster.objects import MODEL, RUNTIME, inference_service, serving_runtime
from tests.controllers.conftest import INSTANCE, wait_for
from tests.controllers.rbac_file import rules_of
from tuning.domain.failures import FailureKind

__all__ = ["place"]

_numbers = itertools.count(1)


# --- Room ---


def test_more_gpus_than_any_node_has(place: Place) -> None:
    controller = place.controller()
    failure = failure_of(controller, place.deploy(controller, place.request(tp_size=16)))
    assert failure.kind is FailureKind.TOO_FEW_GPUS
    for words in ("16 nvidia.com/gpu", "more than 8", "Insufficient nvidia.com/gpu"):
        assert words in failure.message


def test_room_that_is_taken_is_waited_for_and_then_used(place: Place) -> None:
    controller = place.controller()
    first, second, third = (place.deploy(controller, place.request(tp_size=8)) for _ in range(3))
    for one in (first, second):
        assert ready(controller, one).gpus == 8
    waiting = status_when(controller, third, EngineState.PENDING)
    assert "Insufficient nvidia.com/gpu" in waiting.detail
    assert controller.exit_failure(third) is None
    controller.delete(first)
    ready(controller, third)


def test_room_is_not_waited_for_for_ever(place: Place) -> None:
    patient, impatient = place.controller(), place.controller(pending_timeout_s=0.5)
    for _ in range(2):
        ready(patient, place.deploy(patient, place.request(tp_size=8)))
    failure = failure_of(impatient, place.deploy(impatient, place.request(tp_size=8)))
    assert failure.kind is FailureKind.TOO_FEW_GPUS
    assert "no room for the engine for 0.5 s" in failure.message
    assert "Insufficient nvidia.com/gpu" in failure.message


def test_a_node_that_is_nowhere_is_waited_for_as_room_is(place: Place) -> None:
    controller = place.controller(node_selector={"zone": "nowhere"}, pending_timeout_s=0.5)
    failure = failure_of(controller, place.deploy(controller))
    assert failure.kind is FailureKind.STARTUP_TIMEOUT
    assert "didn't match" in failure.message


# --- Images, crashes, memory ---


def test_an_image_that_is_nowhere(place: Place) -> None:
    controller = place.controller()
    request = replace(place.request(), runtime_image_tag="no-such-tag")
    failure = failure_of(controller, place.deploy(controller, request))
    assert failure.kind is FailureKind.IMAGE_MISSING
    assert "autotuner-fake-engine:no-such-tag" in failure.message
    assert "not found" in failure.message


def test_a_runtime_of_our_own_belongs_to_its_service_and_goes_with_it(place: Place) -> None:
    controller, images = place.controller(), place.cluster.images
    images["autotuner-fake-engine:another"] = images["autotuner-fake-engine:test"]
    request = replace(place.request(), runtime_image_tag="another")
    deployment = place.deploy(controller, request)
    assert ready(controller, deployment).environment["image"] == "autotuner-fake-engine:another"
    service = place.cluster.get("InferenceService", request.identity.name, place.namespace)
    (runtime,) = place.cluster.all("ServingRuntime", place.namespace)
    assert service is not None
    (owner,) = runtime["metadata"]["ownerReferences"]
    assert owner["uid"] == service["metadata"]["uid"]
    # As somebody would who knows nothing of the autotuner.
    place.cluster.delete("InferenceService", request.identity.name, place.namespace)
    wait_for(lambda: place.cluster.left_in(place.namespace) == [])


def test_an_engine_that_takes_more_memory_than_its_limit(place: Place) -> None:
    limits = {"limits": {"memory": "200Mi"}, "requests": {"memory": "200Mi"}}
    place.cluster.create(serving_runtime(place.namespace, "narrow", resources=limits))
    controller = place.controller()
    request = replace(place.request(eat_memory_mib=400), runtime="narrow")
    failure = failure_of(controller, place.deploy(controller, request))
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert "OOMKilled" in failure.message


def test_a_crash_is_told_with_the_engine_s_last_lines_though_it_runs_again(place: Place) -> None:
    controller = place.controller()
    deployment = place.deploy(controller, place.request(print_lines=30, die_at_start=3))
    failure = failure_of(controller, deployment)
    assert failure.kind is FailureKind.CRASHED
    assert "told to die" in failure.message
    death = "RuntimeError: the fake engine was told to die"
    assert death in controller.recent_log(deployment)
    # What follows may be of the next life: it begins as soon as the first one ends.
    first_life = place.lines.seen[: place.lines.seen.index(death)]
    assert first_life.count("INFO: line 29") == 1


# --- Model, runtime, spec ---


def test_a_model_that_the_cluster_does_not_know(place: Place) -> None:
    controller = place.controller()
    request = replace(place.request(), model="fake-mode")
    failure = refusal_of(lambda: place.deploy(controller, request))
    assert failure.kind is FailureKind.MODEL_MISSING
    assert "`fake-mode`" in failure.message
    assert MODEL in failure.message
    assert controller.check(request) == failure


def test_a_runtime_that_the_cluster_does_not_know(place: Place) -> None:
    controller = place.controller()
    request = replace(place.request(), runtime="fake-engin")
    failure = refusal_of(lambda: place.deploy(controller, request))
    assert failure.kind is FailureKind.INVALID_SPEC
    assert RUNTIME in failure.message
    assert controller.check(request) == failure


def test_a_runtime_of_which_no_pod_can_be_made(place: Place) -> None:
    resources = {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}}
    place.cluster.create(serving_runtime(place.namespace, "twisted", resources=resources))
    controller = place.controller()
    deployment = place.deploy(controller, replace(place.request(), runtime="twisted"))
    failure = failure_of(controller, deployment)
    assert failure.kind is FailureKind.INVALID_SPEC
    assert "must be less than or equal to memory limit" in failure.message


def test_a_model_that_goes_before_ome_looks(place: Place) -> None:
    """OME finds no model then: it says so in the status and by an Event."""
    controller = place.controller()
    model = place.cluster.get("ClusterBaseModel", MODEL)
    assert model is not None
    metadata = {"name": "fleeting", "namespace": place.namespace}
    place.cluster.create({**model, "kind": "BaseModel", "metadata": metadata})
    request = replace(place.request(), model="fleeting", runtime=RUNTIME)
    name = request.identity.name
    # What a crash left makes `deploy` wait, and so tick, after it has looked for the model.
    left = inference_service(place.namespace, name)
    left["metadata"] |= {"labels": request.identity.labels, "finalizers": ["tests/held"]}
    place.cluster.create(left)

    def tick() -> None:
        place.cluster.delete("BaseModel", "fleeting", place.namespace)
        held = place.cluster.get("InferenceService", name, place.namespace)
        if held is not None and "deletionTimestamp" in held["metadata"]:
            free = {"metadata": {"finalizers": None}}
            place.cluster.patch("InferenceService", name, free, place.namespace)

    place.deployed.append((controller, request.identity))
    failure = failure_of(controller, controller.deploy(request, place.lines, tick))
    assert failure.kind is FailureKind.MODEL_MISSING
    assert "fleeting" in failure.message


# --- Rights ---


def without(rules: list[dict[str, Any]], verb: str, resource: str) -> list[dict[str, Any]]:
    """The rules but for one right."""
    kept = []
    for rule in rules:
        kept.append({**rule, "resources": [one for one in rule["resources"] if one != resource]})
        if resource in rule["resources"]:
            verbs = [one for one in rule["verbs"] if one != verb]
            kept.append({**rule, "resources": [resource], "verbs": verbs})
    return [rule for rule in kept if rule["resources"] and rule["verbs"]]


@pytest.fixture
def somebody(place: Place) -> Callable[..., OmeController]:
    """A controller of a user with the rights of docs/ome-rbac.yaml but for the extras, and but for
    some."""

    def somebody(*lacking: tuple[str, str]) -> OmeController:
        rules = rules_of("autotuner")
        for verb, resource in lacking:
            rules = without(rules, verb, resource)
        user = f"tester-{next(_numbers)}"
        everywhere = rules_of("autotuner-catalogue")
        kubeconfig = place.cluster.kubeconfig_for(user, place.namespace, rules, everywhere)
        return place.controller(kubeconfig)

    return somebody


def test_the_rights_of_the_file_suffice(
    place: Place, somebody: Callable[..., OmeController]
) -> None:
    controller = somebody()
    # Which takes a runtime of our own.
    place.cluster.create(serving_runtime(place.namespace, "own"))
    request = replace(
        place.request(tp_size=1), runtime="own", runtime_image="host.example/autotuner-fake-engine"
    )
    request = replace(request, runtime_image_tag="test")
    deployment = place.deploy(controller, request)
    ready(controller, deployment)
    assert controller.list_deployments(INSTANCE) == [request.identity]
    controller.delete(deployment)
    assert controller.list_deployments(INSTANCE) == []
    assert place.cluster.left_in(place.namespace) == ["ServingRuntime/own"]


def test_without_sight_of_nodes_too_many_gpus_are_waited_for(
    place: Place, somebody: Callable[..., OmeController]
) -> None:
    controller = somebody()
    deployment = place.deploy(controller, place.request(tp_size=16))
    waiting = status_when(controller, deployment, EngineState.PENDING)
    assert "Insufficient nvidia.com/gpu" in waiting.detail


@pytest.mark.parametrize(
    ("verb", "resource"), [("create", "inferenceservices"), ("list", "servingruntimes")]
)
def test_a_right_that_is_missing_for_making_an_engine(
    place: Place, somebody: Callable[..., OmeController], verb: str, resource: str
) -> None:
    controller = somebody((verb, resource))
    failure = refusal_of(lambda: place.deploy(controller))
    assert failure.kind is FailureKind.FORBIDDEN
    for words in (f"{verb} {resource} of ome.io", place.namespace, "docs/ome-rbac.yaml"):
        assert words in failure.message


@pytest.mark.parametrize("resource", ["pods", "events", "inferenceservices"])
def test_a_right_that_is_missing_for_watching_one(
    place: Place, somebody: Callable[..., OmeController], resource: str
) -> None:
    controller = somebody(("watch", resource))
    failure = failure_of(controller, place.deploy(controller))
    assert failure.kind is FailureKind.FORBIDDEN
    assert f"watch {resource}" in failure.message
    assert place.namespace in failure.message


# --- What is there already, and what somebody else does ---


def test_a_service_of_the_same_name_that_is_not_ours_is_left_alone(place: Place) -> None:
    controller, request = place.controller(), place.request()
    name = request.identity.name
    place.cluster.create(inference_service(place.namespace, name))
    before = place.cluster.get("InferenceService", name, place.namespace)
    failure = refusal_of(lambda: controller.deploy(request, place.lines))
    assert failure.kind is FailureKind.INVALID_SPEC
    assert name in failure.message
    controller.delete_orphan(request.identity)
    after = place.cluster.get("InferenceService", name, place.namespace)
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]
    place.cluster.delete("InferenceService", name, place.namespace)
    wait_for(lambda: place.cluster.left_in(place.namespace) == [])


def test_a_cancel_while_leftovers_are_removed_leaves_nothing(place: Place) -> None:
    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    first, request = place.controller(), place.request()
    ready(first, place.deploy(first, request))
    with pytest.raises(Cancelled):
        place.controller().deploy(request, place.lines, cancel)
    assert place.cluster.left_in(place.namespace) == []


def test_a_service_that_somebody_deletes(place: Place) -> None:
    controller = place.controller()
    deployment = place.deploy(controller)
    ready(controller, deployment)
    place.cluster.delete("InferenceService", deployment.identity.name, place.namespace)
    failure = failure_of(controller, deployment)
    assert failure.kind is FailureKind.CRASHED
    assert "not by the autotuner" in failure.message


def test_a_pod_that_somebody_deletes_takes_its_engine_with_it(place: Place) -> None:
    """Kubernetes makes another one; but what was measured of the first is worth nothing."""
    controller = place.controller()
    deployment = place.deploy(controller)
    ready(controller, deployment)
    (pod,) = place.cluster.all("Pod", place.namespace)
    place.cluster.delete("Pod", pod["metadata"]["name"], place.namespace)
    failure = failure_of(controller, deployment)
    assert failure.kind is FailureKind.CRASHED
    assert pod["metadata"]["name"] in failure.message


def test_a_runtime_of_ours_without_its_service_is_found_and_removed(place: Place) -> None:
    """What is left when a process is killed between the two."""
    identity = place.request().identity
    runtime = serving_runtime(place.namespace, identity.name)
    runtime["metadata"]["labels"] = identity.labels
    place.cluster.create(runtime)
    controller = place.controller()
    assert controller.list_deployments(INSTANCE) == [identity]
    controller.delete_orphan(identity)
    assert controller.list_deployments(INSTANCE) == []
    assert place.cluster.left_in(place.namespace) == []


# --- Namespaces and facts ---


def test_a_namespace_is_made_where_it_is_missing_and_stays(place: Place) -> None:
    controller = place.controller()
    name = f"{place.namespace}-made"
    request = replace(place.request(), namespace=name)
    assert controller.check(request) is None
    deployment = place.deploy(controller, request)
    ready(controller, deployment)
    controller.delete(deployment)
    assert place.cluster.left_in(name) == []
    assert place.cluster.get("Namespace", name) is not None
    place.cluster.remove_namespace(name)


def test_a_namespace_is_not_made_against_the_settings(place: Place) -> None:
    controller = place.controller(create_namespace=False)
    request = replace(place.request(), namespace=f"{place.namespace}-never")
    failure = refusal_of(lambda: controller.deploy(request, place.lines))
    assert failure.kind is FailureKind.INVALID_SPEC
    assert f"`{request.namespace}`" in failure.message
    assert controller.check(request) == failure
    assert place.cluster.get("Namespace", f"{place.namespace}-never") is None


def test_a_ready_engine_says_where_and_of_what_it_runs(place: Place) -> None:
    controller = place.controller()
    request = place.request(tp_size=2)
    deployment = place.deploy(controller, request)
    assert deployment.namespace == place.namespace
    known = ready(controller, deployment)
    facts = known.environment
    assert known.gpus == 2
    assert facts["kubernetes_version"].startswith("v1.20.")
    assert facts["node"] in {"gpu-a", "gpu-b"}
    assert facts["runtime"] == RUNTIME
    assert facts["image"].endswith("autotuner-fake-engine:test")
    assert deployment.command == controller.command_line(request)
