"""A small plan that the tests of the genai-bench runner vary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from controllers.base import BenchmarkPlan, Deployment, DeploymentIdentity
from tuning.domain.names import EngineName

_PLAN = BenchmarkPlan(
    task="text-to-text",
    scenarios=["D(16,8)"],
    concurrencies=[1],
    repeats=1,
    warmup_requests=0,
    max_time_per_point_min=1,
    max_requests_per_point=2,
    model_name="sample",
    tokenizer="some/tokenizer",
    additional_params={"temperature": 0.0},
    engine=EngineName.LLAMACPP,
)


def plan(**changes: Any) -> BenchmarkPlan:
    """One scenario at one concurrency, once, without warm-up, except for what is given."""
    return replace(_PLAN, **changes)


def at(url: str) -> Deployment:
    """An engine that was launched by somebody, and answers there."""
    return Deployment(DeploymentIdentity("test", 1, 1, 1), url, ("engine",))
