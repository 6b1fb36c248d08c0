"""Task files for tests: one with nothing but what is required, and those of older releases."""

from __future__ import annotations

import copy
from typing import Any

from tuning.domain.spec import InvalidTask, TaskSpec, parse_task

_MINIMAL: dict[str, Any] = {
    "task_name": "tune",
    "deployment_mode": "local",
    "model": {"id_or_path": "models/SmolLM2-135M-Instruct.gguf"},
    "base_runtime": "llamacpp",
    "parameters": {"threads": [1, 2], "parallel": [1, 4]},
}

OLDER_TASK: dict[str, Any] = {
    "task_name": "docker-simple-tune",
    "description": "Two parameter combinations",
    "deployment_mode": "docker",
    "model": {"name": "llama-3-2-1b-instruct", "namespace": "autotuner"},
    "base_runtime": "sglang",
    "parameters": {
        "tp_size": {"type": "choice", "values": [1]},
        "mem-fraction-static": {"type": "choice", "values": [0.7, 0.8]},
    },
    "optimization": {
        "strategy": "grid_search",
        "objective": "minimize_latency",
        "max_iterations": 2,
        "timeout_per_iteration": 600,
    },
    "slo": {
        "latency": {
            "p50": {"threshold": 2.0},
            "p90": {"threshold": 5.0, "weight": 2.0, "hard_fail": True, "fail_ratio": 0.2},
        },
        "ttft": {"threshold": 1.0, "weight": 2.0},
        "steepness": 0.1,
    },
    "benchmark": {
        "task": "text-to-text",
        "model_name": "llama-3-2-1b-instruct",
        "model_tokenizer": "meta-llama/Llama-3.2-1B-Instruct",
        "traffic_scenarios": ["D(100,100)"],
        "num_concurrency": [1, 4],
        "max_time_per_iteration": 10,
        "max_requests_per_iteration": 50,
        "additional_params": {"temperature": 0.0},
    },
}

OLDER_OME_TASK: dict[str, Any] = {
    **OLDER_TASK,
    "task_name": "simple-tune",
    "deployment_mode": "ome",
    "base_runtime": "sglang-llama-small",
}

FULL_TASK: dict[str, Any] = {
    **_MINIMAL,
    "description": "Every field.",
    "runtime_image": "registry.example:5000/team/llama.cpp",
    "runtime_image_tag": "v1",
    "parameters": {
        "threads": [1, 2],
        "flash-attn": [True, False],
        "cache-type-k": ["f16", "q8_0"],
        "batch-size": {"type": "int", "low": 64, "high": 1000, "log": True},
        "parallel": {"type": "int", "low": 1, "high": 7, "step": 2},
        "share": {"type": "float", "low": 0.1, "high": 0.4, "step": 0.1},
        "top": {"type": "float", "low": 0.1, "high": 0.4, "log": True},
        "ctx-size": 4096,
    },
    "constraints": ["threads * parallel <= 8", "flash-attn or cache-type-k == 'f16'"],
    "ome": {
        "runtime": "srt-smollm",
        "measuring": "benchmark_job",
        "results_storage": "pvc://results/autotuner",
    },
    "optimization": {
        "strategy": "random",
        "objective": {"metric": "ttft_p99_s", "direction": "minimize"},
        "max_iterations": 5,
        "timeout_per_iteration": 12.5,
        "seed": 7,
        "baseline": False,
    },
    "slo": {
        "ttft_p99_s": 0.5,
        "requests_per_s": {"min": 1, "hard": False, "weight": 2.0},
        "e2e_latency": {"p90": {"max": 5.0, "fail_ratio": 0.1, "steepness": 0.3}},
        "error_rate": 0.01,
    },
    "benchmark": {
        "traffic_scenarios": ["D(100,100)", "N(480,240)/(300,150)", "U(50,100)/(100,200)"],
        "num_concurrency": 4,
        "warmup": 0,
        "repeats": 3,
        "additional_params": {"temperature": 0.0, "stop": ["a"], "n": 1},
    },
}


def minimal_task(**sections: Any) -> dict[str, Any]:
    """A task file with only what is required, and the given sections in place of its own."""
    return copy.deepcopy(_MINIMAL) | sections


def spec_of(**sections: Any) -> TaskSpec:
    return parse_task(minimal_task(**sections))


def problems_in(document: Any) -> dict[str, str]:
    """The messages of everything wrong with a document, by path."""
    try:
        parse_task(document)
    except InvalidTask as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}
