"""Services planned from the sample documents, and every kind of object that is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controllers.cluster.models import plan_model
from controllers.cluster.runtimes import runtime_of
from controllers.cluster.service_plan import ServicePlan, plan_service
from controllers.cluster.settings import ClusterSettings, ModelStorage
from controllers.engines.catalogue import engine
from tests.cluster.ome_merging import merged_engine
from tests.controllers.cluster_samples import (
    DOCUMENTS,
    MANIFESTS,
    VLLM_ARGS,
    old_runtime_document,
    request,
    runtime_document,
)
from tuning.domain.names import EngineName, FlagValue

SETTINGS = ClusterSettings()


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


NASTY: dict[str, FlagValue] = {
    "tp-size": 2,
    "tool-call-parser": '$HOME $(MODEL_PATH) "it\'s" \n: x',
    "torchao-config": "1e-07",
    "schedule-conservativeness": 1e-07,
    "enable-metrics": False,
    "disable-radix-cache": True,
}
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
