"""What is read in a serving runtime, and which one is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from controllers.base import DeploymentError
from controllers.cluster.documents import RuntimeKind
from controllers.cluster.runtimes import choose_runtime, runtime_of
from controllers.engines.catalogue import engine
from tests.controllers.cluster_samples import (
    SGLANG_COMMAND,
    VLLM_SCRIPT,
    model_document,
    old_runtime_document,
    runtime_document,
    supported,
)
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName

SGLANG = engine(EngineName.SGLANG)
VLLM = engine(EngineName.VLLM)


# --- Facts ---


def test_the_facts_of_a_runtime_are_read() -> None:
    runtime = runtime_of(runtime_document())

    assert (runtime.name, runtime.reference.kind) == ("srt-llama-3-1-70b", RuntimeKind.CLUSTER)
    assert (runtime.command, runtime.args) == (tuple(SGLANG_COMMAND), ())
    assert (runtime.gpus, runtime.gpu_resource, runtime.port) == (4, "nvidia.com/gpu", 8080)
    assert runtime.image == "registry.example/lmsysorg/sglang:v0.5.5"
    assert runtime.tolerations == ({"key": "nvidia.com/gpu", "operator": "Exists"},)
    assert (runtime.obstacle, runtime.is_old, runtime.is_disabled) == (None, False, False)


def test_an_older_runtime_has_its_container_elsewhere() -> None:
    runtime = runtime_of(old_runtime_document())

    assert runtime.is_old
    assert runtime.args == (VLLM_SCRIPT,)
    assert runtime.image == "vllm/vllm-openai:v0.9.0"
    assert runtime.tolerations == ({"key": "nvidia.com/gpu", "operator": "Exists"},)


@pytest.mark.parametrize(
    ("command", "image", "name", "told"),
    [
        (SGLANG_COMMAND, "registry/serving:1", "r", EngineName.SGLANG),
        (["vllm", "serve"], "registry/serving:1", "r", EngineName.VLLM),
        (["/bin/bash", "-lc", VLLM_SCRIPT], "registry/serving:1", "r", EngineName.VLLM),
        (["/app/llama-server"], "registry/serving:1", "r", EngineName.LLAMACPP),
        (["/start"], "registry.example/lmsysorg/sglang:v1", "r", EngineName.SGLANG),
        (["/start"], "vllm/vllm-openai:v1", "r", EngineName.VLLM),
        (["/start"], "registry.example/ggml-org/llama.cpp:server", "r", EngineName.LLAMACPP),
        (["/start"], "registry/serving:1", "srt-llama", EngineName.SGLANG),
        (["/start"], "registry/serving:1", "vllm-llama", EngineName.VLLM),
        (["/start"], "registry/serving:1", "my-llama", None),
        (["/start"], "registry/sglang-and-vllm:1", "r", None),
    ],
)
def test_the_engine_is_told_by_command_then_image_then_name(
    command: list[str], image: str, name: str, told: EngineName | None
) -> None:
    assert runtime_of(runtime_document(name, command, image=image)).engine is told


@pytest.mark.parametrize(
    ("spec", "config", "said"),
    [
        ({"disabled": True}, {}, "is disabled"),
        ({}, {"leader": {"runner": {}}, "worker": {}}, "several nodes"),
        ({"workers": {"size": 1}}, {}, "several nodes"),
        ({"decoderConfig": {"runner": {}}}, {}, "splits prefill from decoding"),
        ({}, {"runner": None}, "no container"),
        ({"protocolVersions": ["openInference-v2"]}, {}, "openinference-v2 and not the OpenAI API"),
    ],
)
def test_a_runtime_that_can_not_be_tuned_is_refused_with_the_reason(
    spec: dict[str, Any], config: dict[str, Any], said: str
) -> None:
    document = runtime_document(spec=spec, config=config)

    with pytest.raises(DeploymentError, match=said) as caught:
        choose_runtime([document], None, SGLANG, "srt-llama-3-1-70b")

    assert caught.value.failure.kind is FailureKind.INVALID_SPEC


# --- Choosing ---


def chosen(
    documents: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any] | None = None,
    wanted: str | None = None,
) -> tuple[str, RuntimeKind]:
    found = choose_runtime(documents, model or model_document(), SGLANG, wanted)
    return found.name, found.reference.kind


def test_a_named_runtime_is_taken_although_it_is_never_chosen_by_itself() -> None:
    document = runtime_document(spec={"supportedModelFormats": [supported(autoSelect=False)]})

    assert chosen([document], wanted="srt-llama-3-1-70b")[0] == "srt-llama-3-1-70b"


def test_a_runtime_of_the_namespace_goes_before_one_of_the_cluster() -> None:
    mine = runtime_document("srt-mine", kind="ServingRuntime")
    better = runtime_document("srt-better", spec={"supportedModelFormats": [supported(priority=9)]})

    assert chosen([better, mine]) == ("srt-mine", RuntimeKind.NAMESPACED)
    both = [runtime_document("srt-x"), runtime_document("srt-x", kind="ServingRuntime")]
    assert chosen(both, wanted="srt-x") == ("srt-x", RuntimeKind.NAMESPACED)


def test_the_score_decides_then_the_nearness_of_sizes_then_the_name() -> None:
    """The worked example of OME's page "Runtime selection scoring", with its numbers."""
    weighted = {"name": "safetensors", "version": "1.0.0", "weight": 2}
    ranked = [
        runtime_document(
            "srt-a", spec={"supportedModelFormats": [supported(modelFormat=weighted, priority=2)]}
        ),
        runtime_document(
            "srt-c",
            spec={
                "supportedModelFormats": [supported(priority=3)],
                "modelSizeRange": {"min": "60B", "max": "75B"},
            },
        ),
        runtime_document(
            "srt-b",
            spec={
                "supportedModelFormats": [supported(priority=3)],
                "modelSizeRange": {"min": "1B", "max": "400B"},
            },
        ),
        runtime_document("srt-d", spec={"supportedModelFormats": [supported(priority=2)]}),
        runtime_document("srt-e", spec={"supportedModelFormats": [supported(priority=2)]}),
    ]
    left = list(reversed(ranked))
    order = []
    while left:
        name, _ = chosen(left)
        order.append(name)
        left = [one for one in left if one["metadata"]["name"] != name]

    assert order == ["srt-a", "srt-c", "srt-b", "srt-d", "srt-e"]


@pytest.mark.parametrize(
    ("low", "high", "size", "fits"),
    [
        ("2B", "4B", "3.21B", True),
        ("2B", "4B", "4B", True),
        ("500M", "2B", "3.21B", False),
        ("1B", "4B", "1500M", True),
        ("70B", None, "405B", True),
        (None, "13B", "3.21B", True),
        ("2B", "4B", None, True),
        ("2B", "4b", "3.21B", False),
        ("2b", "4B", "1B", True),
        ("1T", "2T", "1500000000000", True),
    ],
)
def test_sizes_are_compared_as_ome_does(
    low: str | None, high: str | None, size: str | None, fits: bool
) -> None:
    """The examples of OME's page "Model size range matching"."""
    bounds = {key: bound for key, bound in (("min", low), ("max", high)) if bound}
    document = runtime_document("srt-x", spec={"modelSizeRange": bounds})
    model = model_document(modelParameterSize=size)

    if fits:
        assert chosen([document], model)[0] == "srt-x"
    else:
        with pytest.raises(DeploymentError, match=f"and this one has {size}"):
            chosen([document], model)


@pytest.mark.parametrize(
    ("runs", "operator", "has", "fits"),
    [
        ("4.43.0", None, "4.43.0", True),
        ("4.43.0", None, "4.43.1", False),
        ("4.43.0", "Equal", "4.43", True),
        ("4.45.0.dev0", None, "4.45.0.dev0", True),
        ("4.45.0", None, "4.45.0.dev0", False),
        ("4.45.0", "GreaterThanOrEqual", "4.43.0", True),
        ("4.45.0", "GreaterThanOrEqual", "4.45.0", True),
        ("4.45.0", "GreaterThan", "4.45.0", False),
        ("4.45.0", "GreaterThan", "4.46.0", False),
        ("4.45.0", "GreaterThan", "4.43.0.dev0", False),
        ("4.45", "GreaterThan", "4.43.0", False),
        ("4.45.0", "GreaterThan", "v4.43.0", False),
        ("not-a-version", None, "not-a-version", False),
        ("4.045.0", None, "4.45.0", False),
        ("4.45.0", None, None, False),
        (None, None, None, True),
    ],
)
def test_versions_are_compared_as_ome_does(
    runs: str | None, operator: str | None, has: str | None, fits: bool
) -> None:
    runtime_side = {"name": "transformers", "version": runs, "operator": operator}
    framework = {key: item for key, item in runtime_side.items() if item}
    document = runtime_document(
        spec={"supportedModelFormats": [supported(modelFramework=framework)]}
    )
    its = {"name": "transformers", **({"version": has} if has else {})}

    if fits:
        assert chosen([document], model_document(modelFramework=its))[0] == "srt-llama-3-1-70b"
    else:
        with pytest.raises(DeploymentError, match="is for another framework"):
            chosen([document], model_document(modelFramework=its))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"supportedModelFormats": [supported(autoSelect=False)]}, "srt-x has autoSelect off"),
        ({"supportedModelFormats": [supported(modelArchitecture="Qwen2ForCausalLM")]}, "Qwen2For"),
        ({"supportedModelFormats": [supported(quantization="fp8")]}, r"quantization \(fp8\)"),
        ({"supportedModelFormats": []}, "srt-x names no model format"),
        ({"disabled": True}, "srt-x is disabled"),
    ],
)
def test_without_a_fitting_runtime_each_is_listed_with_its_reason(
    spec: dict[str, Any], said: str
) -> None:
    with pytest.raises(DeploymentError, match=said) as caught:
        chosen([runtime_document("srt-x", spec=spec)])

    assert "ome.runtime" in str(caught.value)


def test_an_unknown_name_is_answered_with_the_names_that_are_most_like_it() -> None:
    documents = [runtime_document(f"srt-{name}") for name in ("a", "b", "llama-3-1-70b", "c")]
    many = [*documents, *(runtime_document(f"other-{number}") for number in range(20))]

    with pytest.raises(DeploymentError) as caught:
        choose_runtime(many, None, SGLANG, "sglang-llama-70b")

    assert "It has srt-llama-3-1-70b, " in str(caught.value)
    assert "and 16 more" in str(caught.value)


def test_a_runtime_of_another_engine_is_refused_by_name_and_never_chosen() -> None:
    with pytest.raises(DeploymentError, match="runs sglang, and the task's base_runtime is vllm"):
        choose_runtime([runtime_document()], None, VLLM, "srt-llama-3-1-70b")
    with pytest.raises(DeploymentError, match=r"no runtime for vllm.* It has srt-llama-3-1-70b"):
        choose_runtime([runtime_document()], model_document(), VLLM, None)
    with pytest.raises(DeploymentError, match="It has none at all"):
        choose_runtime([], model_document(), VLLM, None)


def test_without_the_model_s_format_a_runtime_has_to_be_named() -> None:
    for model in (None, model_document(modelFormat=None)):
        with pytest.raises(DeploymentError, match=r"ome.runtime: srt-llama-3-1-70b\."):
            choose_runtime([runtime_document()], model, SGLANG, None)


def test_a_runtime_whose_engine_can_not_be_told_is_taken_by_its_name() -> None:
    document = runtime_document("mine", ["/start"], image="registry/x:1")

    assert choose_runtime([document], None, VLLM, "mine").name == "mine"
