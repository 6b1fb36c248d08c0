"""From a task's spec to what a controller and a benchmark are asked to do."""

from __future__ import annotations

from collections.abc import Mapping

from controllers.base import BenchmarkPlan, DeploymentIdentity, DeploymentRequest
from tuning.domain.names import FlagValue
from tuning.domain.spec import TaskSpec


def deployment_request(
    spec: TaskSpec,
    identity: DeploymentIdentity,
    parameters: Mapping[str, FlagValue],
    gpus: tuple[int, ...] = (),
) -> DeploymentRequest:
    return DeploymentRequest(
        identity=identity,
        engine=spec.base_runtime,
        model=spec.model.id_or_path,
        served_model_name=spec.served_model_name,
        parameters=parameters,
        runtime_image=spec.runtime_image,
        runtime_image_tag=spec.runtime_image_tag,
        namespace=spec.model.namespace,
        runtime=spec.ome.runtime,
        gpus=gpus,
    )


def benchmark_plan(spec: TaskSpec, tokenizer: str) -> BenchmarkPlan:
    benchmark = spec.benchmark
    return BenchmarkPlan(
        task=benchmark.task,
        scenarios=tuple(benchmark.traffic_scenarios),
        concurrencies=tuple(benchmark.num_concurrency),
        repeats=benchmark.repeats_per_launch,
        warmup_requests=benchmark.warmup,
        max_time_per_point_min=benchmark.max_time_per_iteration,
        max_requests_per_point=benchmark.max_requests_per_iteration,
        model_name=spec.served_model_name,
        tokenizer=tokenizer,
        additional_params=benchmark.additional_params,
        engine=spec.base_runtime,
    )
