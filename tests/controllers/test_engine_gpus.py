"""How many GPUs each engine takes for a configuration."""

from __future__ import annotations

import pytest

from controllers.engines.catalogue import engine
from tuning.domain.names import EngineName, FlagValue


@pytest.mark.parametrize(
    ("name", "parameters", "gpus"),
    [
        (EngineName.VLLM, {}, 1),
        (EngineName.VLLM, {"tensor-parallel-size": 4, "max-num-seqs": 64}, 4),
        (
            EngineName.VLLM,
            {"tensor-parallel-size": 2, "pipeline-parallel-size": 3, "data-parallel-size": 4},
            24,
        ),
        (EngineName.VLLM, {"tensor-parallel-size": "8"}, 8),
        (EngineName.VLLM, {"tensor-parallel-size": "eight", "data-parallel-size": True}, 1),
        (EngineName.VLLM, {"tensor-parallel-size": 0, "pipeline-parallel-size": -2}, 1),
        (EngineName.SGLANG, {}, 1),
        (EngineName.SGLANG, {"tp-size": 2, "pp-size": 2, "dp-size": 2}, 8),
        (EngineName.SGLANG, {"tensor-parallel-size": 4, "data-parallel-size": 2}, 8),
        (EngineName.SGLANG, {"tp-size": 8, "dp-size": 8, "enable-dp-attention": True}, 8),
        (EngineName.SGLANG, {"tp-size": 8, "dp-size": 2, "enable-dp-attention": False}, 16),
        (EngineName.LLAMACPP, {}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": 0, "tensor-split": "1,1"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": "0"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": False}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": "many"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99}, 1),
        (EngineName.LLAMACPP, {"gpu-layers": "12"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": "all"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": "auto"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": -1}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "split-mode": "row"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "tensor-split": "1,1"}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "tensor-split": "3/1/1"}, 3),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "tensor-split": 1}, 1),
        (EngineName.LLAMACPP, {"tensor-split": "3,1"}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 9, "tensor-split": "1,1", "split-mode": "none"}, 1),
        (EngineName.LLAMACPP, {"device": "CUDA0,CUDA1"}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "device": "CUDA2"}, 3),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "device": "none"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": 9, "split-mode": "none", "main-gpu": 1}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "main-gpu": 1}, 1),
    ],
)
def test_the_gpus_of_one_configuration(
    name: EngineName, parameters: dict[str, FlagValue], gpus: int
) -> None:
    assert engine(name).gpus_needed(parameters) == gpus


@pytest.mark.parametrize("name", list(EngineName))
def test_only_the_flags_it_names_decide_on_gpus(name: EngineName) -> None:
    one = engine(name)
    others = dict.fromkeys(set(one.known_flags) - one.gpu_flags, 7)

    assert one.gpus_needed(others) == one.gpus_needed({})
