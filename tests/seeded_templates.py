"""Task files of the kinds that people write, for `tests.seeding`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TEMPLATES: Sequence[Mapping[str, Any]] = (
    {
        "task_name": "llama-3.1-8b chat latency",
        "deployment_mode": "docker",
        "model": {"id_or_path": "meta-llama/Llama-3.1-8B-Instruct"},
        "base_runtime": "sglang",
        "parameters": {
            "tp-size": [1, 2, 4],
            "mem-fraction-static": [0.7, 0.8, 0.88],
            "schedule-policy": ["lpm", "fcfs"],
            "chunked-prefill-size": {"type": "int", "low": 2048, "high": 16384, "step": 256},
            "enable-torch-compile": [True, False],
            "trust-remote-code": True,
        },
        "optimization": {
            "strategy": "random",
            "objective": "minimize_latency",
        },
        "slo": {"ttft_p99_s": 1.2, "e2e_latency": {"p90": {"max": 6.0, "hard": False}}},
        "benchmark": {
            "traffic_scenarios": ["D(512,128)", "N(480,240)/(300,150)"],
            "num_concurrency": [1, 4, 16, 64],
        },
    },
    {
        "task_name": "qwen2.5-7b offline throughput",
        "deployment_mode": "docker",
        "model": {"id_or_path": "Qwen/Qwen2.5-7B-Instruct"},
        "base_runtime": "vllm",
        "parameters": {
            "tensor-parallel-size": [1, 2],
            "max-num-seqs": {"type": "int", "low": 32, "high": 512},
            "gpu-memory-utilization": {"type": "float", "low": 0.8, "high": 0.95, "step": 0.01},
            "enable-chunked-prefill": [True, False],
        },
        "optimization": {
            "strategy": "random",
            "objective": "maximize_throughput",
        },
        "benchmark": {"traffic_scenarios": ["D(1000,200)"], "num_concurrency": [8, 32, 128]},
    },
    {
        "task_name": "smollm on two cores",
        "deployment_mode": "local",
        "model": {"id_or_path": "SmolLM2-135M-Instruct.Q4_1.gguf"},
        "base_runtime": "llamacpp",
        "parameters": {
            "threads": {"type": "int", "low": 1, "high": 64},
            "parallel": {"type": "int", "low": 1, "high": 64},
            "flash-attn": ["on", "off"],
            "ctx-size": 4096,
        },
        "optimization": {
            "strategy": "random",
            "objective": "maximize_throughput",
        },
        "benchmark": {"traffic_scenarios": ["D(64,32)"], "num_concurrency": [1, 2, 4]},
    },
)
