"""The objects that serve a configuration: as OME's definitions want them, and with every flag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.base import DeploymentError, DeploymentIdentity
from controllers.cluster.documents import ModelKind, ModelReference
from controllers.cluster.models import cluster_name, find_model, model_reference, plan_model
from controllers.cluster.runtimes import runtime_of
from controllers.cluster.service_plan import ServicePlan, plan_service
from controllers.cluster.settings import ClusterSettings, ModelSource, ModelStorage
from controllers.engines.catalogue import engine
from tests.cluster.ome_merging import merged_engine
from tests.controllers.cluster_samples import (
    DOCUMENTS,
    MANIFESTS,
    SGLANG_COMMAND,
    VLLM_ARGS,
    VLLM_SCRIPT,
    model_document,
    old_runtime_document,
    request,
    runtime_document,
    supported,
)
from tests.controllers.crd_schemas import full_schema, problems, reduced_schema
from tests.fake_engine.engine import FakeEngineKind
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue

SETTINGS = ClusterSettings()
SGLANG = engine(EngineName.SGLANG)


def planned(
    document: Mapping[str, Any] | None = None,
    parameters: Mapping[str, FlagValue] | None = None,
    settings: ClusterSettings = SETTINGS,
    **more: Any,
) -> ServicePlan:
    runtime = runtime_of(document or runtime_document())
    asked = request(parameters, **more)
    return plan_service(asked, engine(asked.engine), runtime, settings, MANIFESTS)


def runner_in_pod(plan: ServicePlan, document: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's container after OME has merged service and runtime by its own rules."""
    runtime = plan.serving_runtime or document
    own = plan.inference_service["spec"]["engine"]
    runner: dict[str, Any] = merged_engine(dict(runtime["spec"]["engineConfig"]), own)["runner"]
    return runner


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


NASTY: dict[str, FlagValue] = {
    "tp-size": 2,
    "tool-call-parser": '$HOME $(MODEL_PATH) "it\'s" \n: x',
    "torchao-config": "1e-07",
    "schedule-conservativeness": 1e-07,
    "enable-metrics": False,
    "disable-radix-cache": True,
}


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


# --- A runtime of our own ---


def test_a_runtime_of_our_own_is_made_where_the_image_is_another() -> None:
    document = runtime_document()
    plan = planned(document, {"tp-size": 2}, runtime_image_tag="v0.6.0")
    own = plan.serving_runtime

    assert own is not None
    assert own["kind"] == "ServingRuntime"
    assert own["metadata"] == plan.inference_service["metadata"]
    assert plan.inference_service["spec"]["runtime"] == {
        "name": "autotuner-abc-t17-e204-a1",
        "kind": "ServingRuntime",
    }
    assert plan.image == "registry.example/lmsysorg/sglang:v0.6.0"
    assert own["spec"]["engineConfig"]["runner"]["image"] == plan.image
    kept = {
        **own["spec"]["engineConfig"]["runner"],
        "image": "registry.example/lmsysorg/sglang:v0.5.5",
    }
    assert kept == document["spec"]["engineConfig"]["runner"]
    assert own["spec"]["engineConfig"]["volumes"] == document["spec"]["engineConfig"]["volumes"]


def test_our_runtime_is_never_chosen_for_other_services() -> None:
    spec = {
        "supportedModelFormats": [supported(acceleratorConfig={"h100": {"minMemory": 80}})],
        "routerConfig": {"runner": {"name": "router"}},
    }
    document = runtime_document(spec=spec)
    own = planned(document).serving_runtime

    assert own is not None
    (one,) = own["spec"]["supportedModelFormats"]
    assert one["autoSelect"] is False
    # Flags of OME's own for a class of accelerators would go over ours.
    assert "acceleratorConfig" not in one
    assert "routerConfig" not in own["spec"]
    assert document["spec"]["supportedModelFormats"][0]["autoSelect"] is True


def test_an_older_runtime_becomes_a_newer_one_of_our_own() -> None:
    document = old_runtime_document()
    runtime = runtime_of(document)
    asked = request({"max-model-len": 8192}, engine=EngineName.VLLM)
    plan = plan_service(asked, engine(EngineName.VLLM), runtime, SETTINGS, MANIFESTS)
    own = plan.serving_runtime

    assert own is not None
    assert "containers" not in own["spec"]
    assert own["spec"]["engineConfig"]["volumes"] == document["spec"]["volumes"]
    assert "volumes" not in own["spec"]
    (script,) = plan.inference_service["spec"]["engine"]["runner"]["args"]
    assert script.startswith(VLLM_SCRIPT[:60])
    assert "--max-model-len=131072" not in script
    assert script.endswith("--served-model-name llama \\\n  --max-model-len 8192\n")


@pytest.mark.parametrize(
    ("given", "image", "tag", "wanted"),
    [
        ("registry.example/lmsysorg/sglang:v1", None, None, "registry.example/lmsysorg/sglang:v1"),
        ("registry.example/lmsysorg/sglang:v1", None, "v2", "registry.example/lmsysorg/sglang:v2"),
        ("registry:5000/sglang", None, "v2", "registry:5000/sglang:v2"),
        ("registry:5000/sglang:v1@sha256:ab", None, "v2", "registry:5000/sglang:v2"),
        ("sglang@sha256:ab", None, "v2", "sglang:v2"),
        ("sglang:v1", "team/sglang", "v2", "team/sglang:v2"),
        ("sglang:v1", "team/sglang", None, "team/sglang:latest"),
        (None, None, "v2", "lmsysorg/sglang:v2"),
        (None, None, None, None),
    ],
)
def test_the_image_is_the_tasks_else_the_runtimes(
    given: str | None, image: str | None, tag: str | None, wanted: str | None
) -> None:
    document = runtime_document(image=given)
    plan = planned(document, runtime_image=image, runtime_image_tag=tag)

    assert plan.image == wanted
    assert runner_in_pod(plan, document).get("image") == wanted
    assert (plan.serving_runtime is None) == (given == wanted)


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


# --- Models ---


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3-1-8b-instruct"),
        ("llama-3-2-1b-instruct", "llama-3-2-1b-instruct"),
        ("Qwen/Qwen2.5-7B", "qwen2-5-7b"),
        ("/models/01-ai/Yi", "yi"),
        ("org/123B", "model-123b"),
        ("a/" + "x" * 99, "x" * 63),
        ("models/Small.Q4_1.gguf", "small-q4-1"),
        ("漢字", "model"),
    ],
)
def test_models_are_called_as_omes_own_are(model: str, name: str) -> None:
    assert cluster_name(model) == name


@pytest.mark.parametrize(
    "wanted",
    [
        "llama-3-1-70b-instruct",
        "meta-llama/Llama-3.1-70B-Instruct",
        "meta.llama-3-1-70b-instruct",
        "other-org/Llama-3.1-70B-Instruct",
    ],
)
def test_a_model_is_found_by_name_hub_id_or_display_name(wanted: str) -> None:
    documents = [model_document("other", storage={"storageUri": "hf://a/b"}), model_document()]
    found = find_model(documents, wanted)

    assert found is not None
    assert model_reference(found) == ModelReference("llama-3-1-70b-instruct")


def test_a_model_of_the_namespace_is_nearer_and_a_name_goes_first() -> None:
    mine = model_document(kind="BaseModel")
    by_id = model_document("renamed", storage={"storageUri": "hf://o/x@main"})
    by_name = model_document("o-x", storage={"storageUri": "hf://a/b"}, displayName="o/x")

    found = find_model([model_document(), mine], "llama-3-1-70b-instruct")
    assert found is mine
    assert model_reference(mine).kind is ModelKind.NAMESPACED
    assert find_model([by_name, by_id], "o/x") is by_id
    assert find_model([by_name, by_id], "o-x") is by_name
    assert find_model([by_name, by_id], "nothing") is None
    assert find_model([], "o/x") is None


def test_a_hub_model_is_made_known_to_the_namespace() -> None:
    storage = ModelStorage(directory="/raid/models", secret="hf-token")
    document = plan_model(request(), storage, MANIFESTS)

    assert document["kind"] == "BaseModel"
    assert document["metadata"] == {
        "name": "llama-3-1-70b-instruct",
        "namespace": "team",
        "labels": {"autotuner/instance": "abc"},
    }
    assert document["spec"]["storage"] == {
        "storageUri": "hf://meta-llama/Llama-3.1-70B-Instruct",
        "path": "/raid/models/llama-3-1-70b-instruct",
        "key": "hf-token",
    }
    # It outlives the deployment: nothing that removes deployments may take it for one.
    assert DeploymentIdentity.of_labels(document["metadata"]["labels"]) is None


def test_a_model_on_a_claim_is_where_its_folder_says() -> None:
    storage = ModelStorage(ModelSource.CLAIM, claim="weights", folder="/hub/")
    document = plan_model(request(), storage, MANIFESTS)

    assert document["spec"]["storage"] == {
        "storageUri": "pvc://weights/hub/meta-llama/Llama-3.1-70B-Instruct"
    }


def test_a_claim_has_to_be_named() -> None:
    with pytest.raises(ValueError, match="claim"):
        ModelStorage(ModelSource.CLAIM)


# --- Against OME's definitions ---


PLANS = {
    "plain": planned(parameters={"tp-size": 2}),
    "image": planned(parameters=NASTY, runtime_image="team/sglang"),
    "args": planned(
        runtime_document(command=["vllm", "serve"], args=VLLM_ARGS, image="vllm/vllm-openai:v1"),
        {"max-model-len": 8192},
        ClusterSettings(node_selector={"pool": "gpu"}, tolerations=({"operator": "Exists"},)),
        engine=EngineName.VLLM,
    ),
    "old": planned(old_runtime_document(), {"max-model-len": 8192}, engine=EngineName.VLLM),
}
OBJECTS = {
    **{name: document.document(MANIFESTS) for name, document in DOCUMENTS.items()},
    **{f"plan {name}": plan.inference_service for name, plan in PLANS.items()},
    **{
        f"plan {name}'s runtime": plan.serving_runtime
        for name, plan in PLANS.items()
        if plan.serving_runtime
    },
    "plan hub model": plan_model(request(), ModelStorage(secret="hf"), MANIFESTS),
}
OF_OME = [name for name, one in OBJECTS.items() if one["apiVersion"].startswith("ome.io/")]


@pytest.mark.parametrize("name", OF_OME)
def test_objects_are_as_omes_own_definitions_want_them(name: str) -> None:
    document = OBJECTS[name]

    assert problems(document, full_schema(document["kind"])) == []


@pytest.mark.parametrize("name", OF_OME)
def test_objects_are_as_the_test_clusters_definitions_want_them(name: str) -> None:
    document = OBJECTS[name]

    assert problems(document, reduced_schema(document["kind"])) == []


def test_a_misspelt_field_would_be_found() -> None:
    document = planned().inference_service
    document["spec"]["engine"]["runner"]["argz"] = ["--x"]

    for schema in (reduced_schema, full_schema):
        assert any("argz" in problem for problem in problems(document, schema(document["kind"])))
