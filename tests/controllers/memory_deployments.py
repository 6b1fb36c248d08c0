"""Models, cards and deployments that the memory estimate is held against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuning.domain.names import EngineName, FlagValue

CONFIGS = Path(__file__).parent / "data" / "model_configs"
VLLM, SGLANG, LLAMACPP = EngineName.VLLM, EngineName.SGLANG, EngineName.LLAMACPP

# Memory as `nvidia-smi` shows it, in MiB.
T4, RTX_4080, A10, RTX_4090 = 15_360, 16_376, 23_028, 24_564
L40S, RTX_A6000, A100, H100, H200 = 46_068, 49_140, 81_920, 81_559, 143_771

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}
FBGEMM = {"quant_method": "fbgemm_fp8"}
BITSANDBYTES = {"quant_method": "bitsandbytes", "load_in_4bit": True}
COMPRESSED_FP8 = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
}
COMPRESSED_INT4 = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128}}},
}

Flags = dict[str, FlagValue]


def config(name: str, quantization: Mapping[str, Any] | None = None) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return {**read, "quantization_config": quantization} if quantization else read


# Numbers of parameters as on the models' pages at Hugging Face or in their technical reports;
# where only a text model is counted here, vision towers of 0.4 to 0.9 billion are included.
PUBLISHED = {
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_000_000_000,
    "gemma-2-9b": 9_241_705_984,
    "gemma-3-27b": 27_432_406_640,
    "glm-4.5-air": 106_850_000_000,
    "gpt-oss-120b": 116_830_000_000,
    "gpt-oss-20b": 20_910_000_000,
    "kimi-k2": 1_026_400_000_000,
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-4-scout": 108_641_793_536,
    "mistral-7b-v0.1": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "phi-3-mini-4k": 3_821_079_552,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-8b": 8_190_735_360,
    "smollm2-135m": 134_515_008,
    "starcoder2-3b": 3_030_371_328,
}

# Deployments that are in use, by the engines' own recipes or by many people: none may be refused.
KNOWN_GOOD: list[tuple[EngineName, str, Mapping[str, Any] | None, float, Flags]] = [
    (VLLM, "llama-3.1-8b", None, RTX_4090, {"max-model-len": 8192}),
    (VLLM, "llama-3.1-8b", None, A10, {"max_model_len": 8192}),
    (VLLM, "llama-3.1-8b", None, RTX_4090, {"max-model-len": "32k", "kv-cache-dtype": "fp8"}),
    (VLLM, "llama-3.1-8b", None, H100, {}),
    (VLLM, "llama-3.1-8b", None, RTX_4080, {"quantization": "fp8", "max-model-len": 8192}),
    (VLLM, "llama-3.1-8b", None, 12_288, {"quantization": "bitsandbytes", "max-model-len": 4096}),
    (VLLM, "llama-3.1-8b", BITSANDBYTES, 8_192, {"max-model-len": 2048, "enforce-eager": True}),
    (SGLANG, "llama-3.1-8b", None, RTX_4090, {}),
    (SGLANG, "llama-3.1-8b", None, L40S, {"mem-fraction-static": 0.5}),
    (VLLM, "llama-2-7b", None, RTX_4090, {}),
    (VLLM, "llama-3.1-70b", None, A100, {"tensor-parallel-size": 4, "max-model-len": 32_768}),
    (VLLM, "llama-3.1-70b", None, A100, {"tensor-parallel-size": 2, "max-model-len": 8192}),
    (VLLM, "llama-3.1-70b", None, RTX_4090, {"tensor-parallel-size": 8, "max-model-len": 8192}),
    (VLLM, "llama-3.1-70b", None, H200, {"gpu-memory-utilization": 0.97, "max-model-len": 8192}),
    (SGLANG, "llama-3.1-70b", None, H100, {"tp-size": 2, "mem-fraction-static": 0.9}),
    (SGLANG, "llama-3.1-70b", None, H100, {"tensor-parallel-size": 4}),
    (VLLM, "llama-3.1-70b", COMPRESSED_FP8, H100, {"tensor-parallel-size": 2}),
    (SGLANG, "llama-3.1-70b", None, H100, {"tp-size": 2, "quantization": "fp8"}),
    (VLLM, "llama-3.1-70b", AWQ, RTX_A6000, {"max-model-len": 4096}),
    (VLLM, "llama-3.1-70b", AWQ, RTX_4090, {"tensor-parallel-size": 2, "max-model-len": 4096}),
    (VLLM, "llama-3.1-70b", COMPRESSED_INT4, H100, {"max-model-len": 32_768}),
    (VLLM, "llama-3.1-405b", FBGEMM, H100, {"tensor-parallel-size": 8, "max-model-len": 16_384}),
    (VLLM, "llama-3.1-405b", None, H200, {"tensor-parallel-size": 8}),
    (
        VLLM,
        "llama-3.1-405b",
        None,
        A100,
        {"tensor-parallel-size": 8, "pipeline-parallel-size": 2, "max-model-len": 32_768},
    ),
    (VLLM, "llama-3.1-405b", AWQ, A100, {"tensor-parallel-size": 4, "max-model-len": 8192}),
    (VLLM, "qwen2.5-7b", None, RTX_4090, {}),
    (VLLM, "qwen2.5-7b", AWQ, 8_192, {"max-model-len": 4096}),
    (
        VLLM,
        "qwen2.5-7b",
        None,
        T4 + 1024,
        {"dtype": "half", "max-model-len": 2048, "gpu-memory-utilization": 0.98},
    ),
    (VLLM, "qwen2.5-32b", None, H100, {"max-model-len": 16_384}),
    (VLLM, "qwen2.5-32b", GPTQ, RTX_4090, {"max-model-len": 8192, "gpu-memory-utilization": 0.95}),
    (VLLM, "qwen2.5-72b", None, H100, {"tensor-parallel-size": 4}),
    (VLLM, "qwen2.5-72b", GPTQ, RTX_A6000, {"max-model-len": 8192}),
    (SGLANG, "qwen2.5-72b", None, H200, {"tp-size": 2}),
    (VLLM, "qwen3-8b", None, RTX_4090, {"max-model-len": 16_384}),
    (VLLM, "qwen3-30b-a3b", None, H100, {}),
    (SGLANG, "qwen3-30b-a3b", None, RTX_A6000, {"tp-size": 2}),
    (VLLM, "qwen1.5-moe-a2.7b", None, RTX_A6000, {}),
    (VLLM, "mixtral-8x7b", None, H100, {"tensor-parallel-size": 2}),
    (SGLANG, "mixtral-8x7b", None, A100, {"tp-size": 2}),
    (VLLM, "mixtral-8x7b", AWQ, RTX_A6000, {"max-model-len": 16_384}),
    (VLLM, "mistral-7b-v0.1", None, RTX_4090, {}),
    (VLLM, "mistral-7b-v0.1", None, RTX_4080, {"max-model-len": 4096}),
    (VLLM, "deepseek-v3", None, H200, {"tensor-parallel-size": 8}),
    (VLLM, "deepseek-v3", None, H200, {"data-parallel-size": 8, "enable-expert-parallel": True}),
    (
        VLLM,
        "deepseek-v3",
        None,
        H100,
        {"tensor-parallel-size": 8, "pipeline-parallel-size": 2, "max-model-len": 32_768},
    ),
    (SGLANG, "deepseek-v3", None, H200, {"tp-size": 8}),
    (SGLANG, "deepseek-v3", None, H200, {"tp-size": 8, "dp-size": 8, "enable-dp-attention": True}),
    (SGLANG, "deepseek-v3", None, H100, {"tp-size": 16}),
    (VLLM, "deepseek-v2-lite", None, RTX_A6000, {"max-model-len": 32_768}),
    (VLLM, "kimi-k2", None, H200, {"tensor-parallel-size": 16, "max-model-len": 131_072}),
    (VLLM, "glm-4.5-air", None, H100, {"tensor-parallel-size": 4}),
    (VLLM, "gemma-2-9b", None, RTX_4090, {"max-model-len": 8192}),
    (VLLM, "gemma-3-27b", None, H100, {"max-model-len": 131_072}),
    (VLLM, "phi-3-mini-4k", None, RTX_4080, {}),
    (VLLM, "gpt-oss-120b", None, H100, {"max-model-len": 131_072}),
    (SGLANG, "gpt-oss-120b", None, H100, {}),
    (VLLM, "gpt-oss-20b", None, RTX_4080, {"max-model-len": 8192, "gpu-memory-utilization": 0.95}),
    (VLLM, "llama-4-scout", None, H100, {"tensor-parallel-size": 8, "max-model-len": 1_000_000}),
    (VLLM, "starcoder2-3b", None, RTX_4080, {}),
    (VLLM, "smollm2-135m", None, 4_096, {}),
]

IMPOSSIBLE: list[tuple[EngineName, str, Mapping[str, Any] | None, float, Flags]] = [
    (VLLM, "llama-3.1-70b", None, A100, {}),
    (SGLANG, "llama-3.1-70b", None, H100, {"mem-fraction-static": 0.95}),
    (SGLANG, "llama-3.1-70b", None, A100, {"dp-size": 4}),
    (VLLM, "llama-3.1-70b", None, A100, {"data-parallel-size": 4}),
    (VLLM, "llama-3.1-70b", AWQ, RTX_4090, {}),
    (VLLM, "llama-3.1-405b", None, A100, {"tensor-parallel-size": 8}),
    (SGLANG, "llama-3.1-405b", None, H100, {"tp-size": 8}),
    (VLLM, "llama-3.1-8b", None, RTX_4090, {"max-model-len": 131_072}),
    (VLLM, "llama-3.1-8b", None, RTX_4090, {"max-model-len": "128k"}),
    (VLLM, "llama-3.1-8b", None, H200, {"gpu-memory-utilization": 0.1}),
    (VLLM, "llama-3.1-8b", None, RTX_4090, {"dtype": "float32"}),
    (SGLANG, "llama-3.1-8b", None, T4, {}),
    (SGLANG, "llama-3.1-8b", None, L40S, {"mem-fraction-static": 0.3}),
    (VLLM, "llama-2-7b", None, RTX_4090, {"max-model-len": 32_768}),
    (VLLM, "qwen2.5-32b", None, RTX_A6000, {}),
    (VLLM, "mixtral-8x7b", None, H100, {}),
    (VLLM, "deepseek-v3", None, A100, {"tensor-parallel-size": 8}),
    (SGLANG, "deepseek-v3", None, H100, {"tp-size": 8}),
    (VLLM, "gpt-oss-120b", None, RTX_A6000, {}),
    (VLLM, "kimi-k2", None, H100, {"tensor-parallel-size": 8}),
]

LLAMA_GGUF = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "vocab_size": 128_256,
}
Q4_K_M = 4_920_734_272
