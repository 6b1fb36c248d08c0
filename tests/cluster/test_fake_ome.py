"""FakeOme treats InferenceServices as OME does, where the autotuner depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.api import Document
from tests.cluster.cluster import Cluster
from tests.cluster.looking import (
    condition_of,
    engine_pods,
    log_of,
    wait_for_container,
    wait_until_ready,
    warnings,
)
from tests.cluster.objects import inference_service
from tests.cluster.ome_merging import TemplateError, merged_engine, pod_spec_of
from tests.services import wait_until

SERVICE = {"metadata": {"name": "one", "namespace": "place"}}


def merged_runner(runtime: Document, own: Document) -> Document:
    engine = merged_engine({"runner": {"name": "c", **runtime}}, {"runner": {"name": "c", **own}})
    runner: Document = engine["runner"]
    return runner


def test_command_and_args_each_replace_the_runtimes_as_a_whole() -> None:
    runtime = {"command": ["serve", "--a"], "args": ["--b", "--c"]}
    assert merged_runner(runtime, {"args": ["--d"]})["args"] == ["--d"]
    assert merged_runner(runtime, {"args": ["--d"]})["command"] == ["serve", "--a"]
    assert merged_runner(runtime, {"command": ["x"]})["args"] == ["--b", "--c"]


def test_variables_merge_by_name_and_mounts_by_path() -> None:
    runtime = {
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "volumeMounts": [{"mountPath": "/a", "name": "x"}],
    }
    own = {
        "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
        "volumeMounts": [{"mountPath": "/a", "name": "y"}],
    }
    merged = merged_runner(runtime, own)
    assert [(one["name"], one["value"]) for one in merged["env"]] == [
        ("A", "1"),
        ("B", "3"),
        ("C", "4"),
    ]
    assert merged["volumeMounts"] == [{"mountPath": "/a", "name": "y"}]


def test_a_runner_without_a_name_blanks_the_runtimes() -> None:
    runtime = {"runner": {"name": "ome-container", "image": "x"}}
    assert merged_engine(runtime, {"runner": {"args": []}})["runner"]["name"] == ""
    assert merged_engine(runtime, {"minReplicas": 1})["runner"]["name"] == "ome-container"


@pytest.mark.parametrize(
    ("argument", "result"),
    [("{{.Name}}", "one"), ("{{ .Namespace }}/x", "place/x"), ("{ {", "{ {"), ("}}", "}}")],
)
def test_placeholders_are_filled(argument: str, result: str) -> None:
    spec = pod_spec_of({"runner": {"name": "c", "args": [argument]}}, None, SERVICE)
    assert spec["containers"][0]["args"] == [result]


@pytest.mark.parametrize("argument", ["{{", "{{ range }}", "{{.NoSuchField}}", "a{{b"])
def test_what_go_templates_refuse_is_refused(argument: str) -> None:
    with pytest.raises(TemplateError):
        pod_spec_of({"runner": {"name": "c", "args": [argument]}}, None, SERVICE)


# --- In the cluster ---


def status_of(cluster: Cluster, namespace: str) -> Document:
    found: Document = (cluster.get("InferenceService", "one", namespace) or {}).get("status", {})
    return found


def wait_for_warning(cluster: Cluster, namespace: str, words: str) -> None:
    def told() -> bool:
        return any(words in one for one in warnings(cluster, namespace, "InferenceService"))

    wait_until(told, f"{words!r} in {warnings(cluster, namespace, 'InferenceService')}", 30)


def without_name(document: Document) -> None:
    del document["spec"]["engine"]["runner"]["name"]


def other_runtime(document: Document) -> None:
    document["spec"]["runtime"]["name"] = "no-such-runtime"


def template_argument(document: Document) -> None:
    document["spec"]["engine"]["runner"]["args"] = ["--x", "{{"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_name, "InternalError: Failed to reconcile component *components.Engine"),
        (without_name, "spec.template.spec.containers[0].name: Required value"),
        (other_runtime, "RuntimeReconcileError: No ServingRuntimes or ClusterServingRuntimes"),
        (template_argument, "failed to replace placeholders in container"),
    ],
)
def test_what_can_not_be_deployed_is_told_by_events_alone(
    cluster: Cluster, namespace: str, change: Callable[[Document], None], words: str
) -> None:
    document = inference_service(namespace, "one")
    change(document)
    cluster.create(document)
    wait_for_warning(cluster, namespace, words)
    assert engine_pods(cluster, namespace, "one") == []
    assert "modelStatus" not in status_of(cluster, namespace)


def test_a_missing_model_is_told_in_the_status_too(cluster: Cluster, namespace: str) -> None:
    document = inference_service(namespace, "one")
    document["spec"]["model"]["name"] = "no-such-model"
    cluster.create(document)
    wait_for_warning(cluster, namespace, "ModelReconcileError: No BaseModel or ClusterBaseModel")
    wait_until(lambda: "modelStatus" in status_of(cluster, namespace), "its status", 10)
    status = status_of(cluster, namespace)["modelStatus"]
    assert status["transitionStatus"] == "InvalidSpec"
    assert status["lastFailureInfo"]["reason"] == "BaseModelNotFound"


def test_an_engine_that_dies_blocks_the_model(cluster: Cluster, namespace: str) -> None:
    dying: dict[str, Any] = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    cluster.create(inference_service(namespace, "one", "--die-at-start", "3", **dying))
    wait_for_container(
        cluster, namespace, "one", lambda one: one["state"].get("waiting", {}).get("reason")
    )

    def blocked() -> bool:
        status = status_of(cluster, namespace).get("modelStatus", {})
        return bool(status.get("transitionStatus") == "BlockedByFailedLoad")

    wait_until(blocked, "the model's failure", 20)
    failure = status_of(cluster, namespace)["modelStatus"]["lastFailureInfo"]
    assert (failure["reason"], failure["exitCode"]) == ("ModelLoadFailed", 3)
    assert "the fake engine was told to die" in failure["message"]


def test_conditions_and_address_are_those_of_a_raw_deployment(
    cluster: Cluster, namespace: str
) -> None:
    cluster.create(inference_service(namespace, "one"))
    pod = wait_until_ready(cluster, namespace, "one")
    service = cluster.get("InferenceService", "one", namespace)
    assert service is not None
    assert service["status"]["url"] == f"http://one.{namespace}.svc.cluster.local"
    assert service["status"]["observedGeneration"] == service["metadata"]["generation"]
    for kind in ("EngineReady", "IngressReady", "Ready"):
        assert condition_of(service, kind) == "True"
    labels = pod["metadata"]["labels"]
    assert labels["ome.io/inferenceservice"] == "one"
    assert labels["component"] == "engine"
    assert cluster.get("Deployment", "one-engine", namespace) is not None


def test_changed_arguments_make_a_new_pod(cluster: Cluster, namespace: str) -> None:
    cluster.create(inference_service(namespace, "one", "--print-lines", "1"))
    first = wait_until_ready(cluster, namespace, "one")
    runner = inference_service(namespace, "one", "--print-lines", "3")["spec"]["engine"]["runner"]
    change = {"spec": {"engine": {"runner": runner}}}
    cluster.patch("InferenceService", "one", change, namespace)

    def only_the_new_one() -> bool:
        pods = engine_pods(cluster, namespace, "one")
        return len(pods) == 1 and pods[0]["metadata"]["name"] != first["metadata"]["name"]

    wait_until(only_the_new_one, "one new pod", 60)
    (pod,) = engine_pods(cluster, namespace, "one")
    assert "INFO: line 2" in log_of(cluster, pod)
