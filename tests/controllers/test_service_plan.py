"""The service of a configuration: its labels, GPUs and nodes, and every flag as asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.base import DeploymentError, DeploymentIdentity
from controllers.cluster.runtimes import runtime_of
from controllers.cluster.service_plan import plan_service
from controllers.cluster.settings import ClusterSettings
from tests.controllers.cluster_samples import MANIFESTS, SGLANG_COMMAND, request, runtime_document
from tests.controllers.service_plans import NASTY, SETTINGS, planned, runner_in_pod
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.failures import FailureKind
from tuning.domain.names import FlagValue


def test_the_service_is_the_deployments_by_name_and_labels() -> None:
    plan = planned(parameters={"tp-size": 2})
    service, spec = plan.inference_service, plan.inference_service["spec"]
    labels = request().identity.labels

    assert service["metadata"] == {
        "name": "autotuner-abc-t17-e204-a1",
        "namespace": "team",
        "labels": labels,
    }
    assert DeploymentIdentity.of_labels(service["metadata"]["labels"]) == request().identity
    assert spec["engine"]["labels"] == labels
    assert (spec["engine"]["minReplicas"], spec["engine"]["maxReplicas"]) == (1, 1)
    assert spec["model"] == {"name": "llama-3-1-70b-instruct", "kind": "ClusterBaseModel"}
    assert spec["runtime"] == {"name": "srt-llama-3-1-70b", "kind": "ClusterServingRuntime"}
    assert spec["engine"]["runner"]["name"] == "ome-container"
    assert plan.serving_runtime is None
    assert (plan.port, plan.image) == (8080, "registry.example/lmsysorg/sglang:v0.5.5")


@pytest.mark.parametrize(
    ("parameters", "gpus"),
    [
        ({}, 4),
        ({"tp-size": 2}, 2),
        ({"tp-size": 2, "pp-size": 2, "dp-size": 2}, 8),
        ({"tp-size": 8, "dp-size": 4, "enable-dp-attention": True}, 8),
    ],
)
def test_gpus_are_asked_for_as_the_engines_rule_says(
    parameters: dict[str, FlagValue], gpus: int
) -> None:
    document = runtime_document()
    plan = planned(document, parameters)

    assert plan.gpus == gpus
    resources = runner_in_pod(plan, document)["resources"]
    for part in ("requests", "limits"):
        assert resources[part] == {"cpu": "10", "memory": "160Gi", "nvidia.com/gpu": str(gpus)}


def test_gpus_are_the_runtimes_where_it_leaves_their_number_to_a_variable() -> None:
    command = ["python3", "-m", "sglang.launch_server", "--tp", "$(PARALLELISM_SIZE)"]
    plan = planned(runtime_document(command=command, gpus=6))

    assert plan.gpus == 6
    assert "resources" not in plan.inference_service["spec"]["engine"]["runner"]


def test_gpus_of_another_kind_are_called_what_the_runtime_calls_them() -> None:
    document = runtime_document()
    limits = {"limits": {"amd.com/gpu": 4, "rdma/ib": 1}}
    document["spec"]["engineConfig"]["runner"]["resources"] = limits
    resources = planned(document, {"tp-size": 2}).inference_service["spec"]["engine"]["runner"]

    assert resources["resources"]["limits"] == {"amd.com/gpu": "2"}


def test_an_engine_without_gpus_leaves_the_runtimes_resources_alone() -> None:
    document = runtime_document(command=["python3", "/server.py"], gpus=0)
    plan = plan_service(
        request({"slots": 2}), FakeEngineKind(), runtime_of(document), SETTINGS, MANIFESTS
    )

    assert plan.gpus == 0
    assert "resources" not in plan.inference_service["spec"]["engine"]["runner"]


def test_settings_choose_nodes_and_the_runtimes_tolerations_stay() -> None:
    mine = {"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"}
    settings = ClusterSettings(node_selector={"pool": "gpu"}, tolerations=(mine,))
    document = runtime_document()
    pod = planned(document, settings=settings).inference_service["spec"]["engine"]

    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}, mine]
    assert "tolerations" not in planned(document).inference_service["spec"]["engine"]


@pytest.mark.parametrize(
    ("command", "args"),
    [
        (SGLANG_COMMAND, None),
        (SGLANG_COMMAND[:3], SGLANG_COMMAND[3:]),
        (SGLANG_COMMAND[:9], SGLANG_COMMAND[9:]),
    ],
)
def test_after_omes_merge_the_engine_runs_what_the_plan_says(
    command: list[str], args: list[str] | None
) -> None:
    document = runtime_document(command=command, args=args)
    plan = planned(document, NASTY)
    runner = runner_in_pod(plan, document)
    words = [*runner["command"], *runner.get("args", ())]

    # `$(MODEL_PATH)` of the runtime is a variable, ours is a text.
    as_shown = [word if word == "$(MODEL_PATH)" else word.replace("$$", "$") for word in words]
    assert as_shown == list(plan.command)
    assert words[-9:] == [
        *("--tp-size", "2", "--tool-call-parser", '$$HOME $$(MODEL_PATH) "it\'s" \n: x'),
        *("--torchao-config", "1e-07", "--schedule-conservativeness", "1e-07"),
        "--disable-radix-cache",
    ]
    assert "--enable-metrics" not in words
    assert runner["name"] == "ome-container"


def test_the_facts_hold_what_is_sent() -> None:
    plan = planned(parameters={"enable-metrics": False})

    assert plan.facts == {
        "model": "llama-3-1-70b-instruct",
        "runtime": "srt-llama-3-1-70b",
        "image": "registry.example/lmsysorg/sglang:v0.5.5",
        "manifests": [plan.serving_runtime, plan.inference_service],
    }


# --- Refusals ---


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"namespace": "Team"}, "metadata.namespace: 'Team'"),
        ({"namespace": "a" * 64}, "metadata.namespace: "),
        ({"identity": DeploymentIdentity("a" * 60, 1, 2, 3)}, "AUTOTUNER_INSTANCE"),
    ],
)
def test_what_the_cluster_would_refuse_is_refused_before(more: dict[str, Any], said: str) -> None:
    with pytest.raises(DeploymentError, match=said) as caught:
        planned(**more)

    assert caught.value.failure.kind is FailureKind.INVALID_SPEC


def test_a_flag_that_the_engine_refuses_is_refused_before() -> None:
    with pytest.raises(DeploymentError, match="takes a whole number") as caught:
        planned(parameters={"tp-size": "many"})

    assert caught.value.failure.kind is FailureKind.BAD_FLAG


@given(
    value=st.text(),
    name=st.text(min_size=1, max_size=20),
    served=st.text(max_size=20),
    tag=st.text(max_size=20),
)
def test_any_text_reaches_the_engine_exactly_or_is_refused(
    value: str, name: str, served: str, tag: str
) -> None:
    document = runtime_document(command=["python3", "/server.py"])
    asked = replace(
        request({"text": value}), served_model_name=served, runtime_image_tag=tag, model=name
    )
    kind = FakeEngineKind()
    try:
        plan = plan_service(asked, kind, runtime_of(document), SETTINGS, MANIFESTS)
    except DeploymentError as error:
        assert error.failure.kind in {FailureKind.BAD_FLAG, FailureKind.INVALID_SPEC}  # noqa: PT017
        return
    runner = runner_in_pod(plan, document)
    assert [word.replace("$$", "$") for word in runner["args"]] == [
        *("--served-model-name", served, "--text", value)
    ]
    assert runner["image"] == f"registry.example/lmsysorg/sglang:{tag}"
    assert plan.inference_service["metadata"] == {
        "name": asked.identity.name,
        "namespace": "team",
        "labels": asked.identity.labels,
    }
