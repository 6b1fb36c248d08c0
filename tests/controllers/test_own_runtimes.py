"""A serving runtime of our own, where the cluster's does not do as it is."""

from __future__ import annotations

import pytest

from controllers.cluster.runtimes import runtime_of
from controllers.cluster.service_plan import plan_service
from controllers.engines.catalogue import engine
from tests.controllers.cluster_samples import (
    MANIFESTS,
    VLLM_SCRIPT,
    old_runtime_document,
    request,
    runtime_document,
    supported,
)
from tests.controllers.service_plans import SETTINGS, planned, runner_in_pod
from tuning.domain.names import EngineName


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
