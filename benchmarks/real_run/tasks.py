"""The tasks of a real run: llama.cpp with the sample model, on the processor of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controllers.sample_model import FILE_NAME
from tuning.domain.names import FlagValue

SPACE: Mapping[str, Any] = {
    "threads": [1, 2, 3],
    "parallel": [1, 2, 4],
    "ubatch-size": [16, 64, 512],
    "flash-attn": ["on", "off"],
    "ctx-size": 4096,
}
"""Threads and slots decide, small physical batches cost long prompts, Flash Attention hardly
matters on a processor."""

TRAFFICS: Mapping[str, Mapping[str, Any]] = {
    "chat": {"traffic_scenarios": ["D(16,12)"], "max_requests_per_iteration": 6},
    "documents": {"traffic_scenarios": ["D(128,4)"], "max_requests_per_iteration": 6},
}
"""Short prompts with answers as long; long prompts with a word for an answer."""

CONCURRENCIES = (1, 2, 4)


def exhaustive_task(traffic: str) -> dict[str, Any]:
    """Every configuration at every load."""
    return _task(f"{traffic}: exhaustive", SPACE, traffic) | {
        "optimization": _optimization(strategy="grid_search", pruning="off")
    }


def bayesian_task(traffic: str, max_iterations: int, seed: int) -> dict[str, Any]:
    """The same space searched, without what the exhaustive task has found out."""
    return _task(f"{traffic}: bayesian", SPACE, traffic) | {
        "optimization": _optimization(
            strategy="bayesian",
            pruning="safe",
            max_iterations=max_iterations,
            seed=seed,
            warm_start=False,
        )
    }


def single_task(parameters: Mapping[str, FlagValue], traffic: str) -> dict[str, Any]:
    """One configuration at every load."""
    return _task(f"{traffic}: launched again", parameters, traffic) | {
        "optimization": _optimization(strategy="grid_search", pruning="off", baseline=False)
    }


def _task(name: str, parameters: Mapping[str, Any], traffic: str) -> dict[str, Any]:
    return {
        "task_name": name,
        "deployment_mode": "local",
        "model": {"id_or_path": FILE_NAME},
        "base_runtime": "llamacpp",
        "parameters": dict(parameters),
        "benchmark": {
            **TRAFFICS[traffic],
            "num_concurrency": list(CONCURRENCIES),
            "max_time_per_iteration": 1,
            "additional_params": {"temperature": 0.0},
        },
    }


def _optimization(**given: Any) -> dict[str, Any]:
    """Verification is left out of the searches: `benchmarks.real` does that itself, for both."""
    return {"objective": "minimize_latency", "verification": 0, **given}
