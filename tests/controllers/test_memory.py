"""The memory estimate: parameters as published, no false refusal, none of the impossible let by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from controllers.engines.memory import MemoryEstimate, Verdict, estimate
from controllers.engines.memory.facts import language_facts
from controllers.engines.memory.flags import Flags as EngineFlags
from controllers.engines.memory.flags import decides_on_memory
from controllers.engines.memory.parameters import count_parameters
from controllers.engines.memory.verdict import MIB
from tests.controllers.memory_deployments import (
    A100,
    AWQ,
    COMPRESSED_FP8,
    COMPRESSED_INT4,
    CONFIGS,
    GPTQ,
    H100,
    H200,
    IMPOSSIBLE,
    KNOWN_GOOD,
    LLAMA_GGUF,
    LLAMACPP,
    PUBLISHED,
    Q4_K_M,
    RTX_4090,
    RTX_A6000,
    SGLANG,
    VLLM,
    Flags,
    config,
)
from tuning.domain.names import EngineName, FlagValue

FITS, TIGHT, TOO_BIG, UNKNOWN = Verdict.FITS, Verdict.TIGHT, Verdict.TOO_BIG, Verdict.UNKNOWN


def of(engine: EngineName, name: str, card: float, /, **flags: FlagValue) -> MemoryEstimate:
    named = {flag.replace("_", "-"): value for flag, value in flags.items()}
    return estimate(engine, config(name), named, card)


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_parameters_are_counted_as_published(name: str, published: int) -> None:
    counted = count_parameters(language_facts(config(name))).total

    assert counted == pytest.approx(published, rel=0.02)


def test_every_sample_configuration_is_counted() -> None:
    assert {path.stem for path in CONFIGS.glob("*.json")} == set(PUBLISHED)


@pytest.mark.parametrize(("engine", "name", "quantization", "card", "flags"), KNOWN_GOOD)
def test_what_is_known_to_work_is_not_refused(
    engine: EngineName,
    name: str,
    quantization: Mapping[str, Any] | None,
    card: float,
    flags: Flags,
) -> None:
    told = estimate(engine, config(name, quantization), flags, card)

    assert told.verdict in (FITS, TIGHT), told.reason


def test_most_of_what_works_is_not_even_warned_of() -> None:
    told = [estimate(one[0], config(one[1], one[2]), one[4], one[3]) for one in KNOWN_GOOD]

    assert sum(one.verdict is FITS for one in told) >= 0.75 * len(told)


@pytest.mark.parametrize(("engine", "name", "quantization", "card", "flags"), IMPOSSIBLE)
def test_the_impossible_is_refused(
    engine: EngineName,
    name: str,
    quantization: Mapping[str, Any] | None,
    card: float,
    flags: Flags,
) -> None:
    told = estimate(engine, config(name, quantization), flags, card)

    assert told.verdict is TOO_BIG, told.reason


def test_refusals_name_the_numbers() -> None:
    weights = of(VLLM, "llama-3.1-70b", A100)
    cache = of(VLLM, "llama-3.1-8b", RTX_4090, max_model_len=131_072)

    assert weights.reason == (
        "Too big: the weights take at least 127.5 GiB of each GPU, and vLLM fills at most 73.6 GiB "
        "of this 80.0 GiB card (gpu-memory-utilization 0.92)."
    )
    assert cache.reason == (
        "Too big: the weights (at least 14.5 GiB) and the KV cache of one request of 131,072 "
        "tokens (16.0 GiB) take 30.5 GiB of each GPU, and vLLM fills at most 22.1 GiB of this "
        "24.0 GiB card (gpu-memory-utilization 0.92)."
    )


def test_two_large_cards_are_tight_for_a_model_of_70_billion() -> None:
    told = of(VLLM, "llama-3.1-70b", A100, tensor_parallel_size=2, max_model_len=8192)

    assert told.verdict is TIGHT
    assert told.reason.startswith("Tight: weights (65.7 GiB), the KV cache of one request of 8,192")


def test_the_models_own_context_is_warned_of_but_not_refused() -> None:
    assert of(VLLM, "llama-3.1-8b", RTX_4090).verdict is TIGHT


def test_sglang_is_not_refused_for_a_context_it_would_cut() -> None:
    asked = of(SGLANG, "llama-3.1-8b", RTX_4090, context_length=131_072)

    assert asked.verdict is TIGHT
    assert asked.kv_cache_mib == pytest.approx(16_384)


def test_a_static_share_that_leaves_no_room_for_activations_is_tight() -> None:
    told = of(SGLANG, "qwen3-8b", RTX_4090, mem_fraction_static=0.98)

    assert told.verdict is TIGHT
    assert told.reason.startswith("Tight: mem-fraction-static leaves 0.5 GiB of each GPU")


# What one token takes in all layers: 2 x layers x KV heads x head size x 2 bytes, latent x layers
# x 2 bytes for MLA, by hand.
@pytest.mark.parametrize(
    ("name", "flags", "tokens", "mib"),
    [
        ("llama-2-7b", {}, 4096, 2048),
        ("llama-3.1-8b", {}, 8192, 1024),
        ("llama-3.1-8b", {"kv-cache-dtype": "fp8_e4m3"}, 8192, 512),
        ("llama-3.1-8b", {"tensor-parallel-size": 2}, 8192, 512),
        ("llama-3.1-8b", {"pipeline-parallel-size": 4}, 8192, 256),
        ("llama-3.1-70b", {"tensor-parallel-size": 16}, 8192, 320),
        ("deepseek-v3", {"tensor-parallel-size": 8}, 8192, 61 * 576 * 2 * 8192 / MIB),
        ("deepseek-v3", {"tp": 8, "decode-context-parallel-size": 8}, 8192, 61 * 576 * 2 / 1024),
        ("mistral-7b-v0.1", {}, 32_768, 512),
        ("gemma-2-9b", {}, 8192, 21 * 2 * 8 * 256 * 2 * (8192 + 4096) / MIB),
        ("gemma-3-27b", {}, 8192, 2 * 16 * 128 * 2 * (10 * 8192 + 52 * 1024) / MIB),
        ("gpt-oss-120b", {}, 8192, 2 * 8 * 64 * 2 * 18 * (8192 + 128) / MIB),
        ("llama-4-scout", {}, 16_384, 2 * 8 * 128 * 2 * (12 * 16_384 + 36 * 8192) / MIB),
        ("qwen2.5-7b", {}, 32_768, 1792),
    ],
)
def test_the_kv_cache_of_one_request(name: str, flags: Flags, tokens: int, mib: float) -> None:
    told = estimate(VLLM, config(name), {**flags, "max-model-len": tokens}, H200)

    assert told.context_tokens == tokens
    assert told.kv_cache_mib == pytest.approx(mib)


@pytest.mark.parametrize(
    ("name", "quantization", "gib"),
    [
        ("llama-3.1-70b", AWQ, 37.04),
        ("qwen2.5-32b", GPTQ, 18.05),
        ("qwen2.5-7b", AWQ, 5.19),
        ("gpt-oss-120b", None, 60.8),
        ("gpt-oss-20b", None, 12.8),
        ("llama-3.1-8b", COMPRESSED_FP8, 8.46),
    ],
)
def test_quantized_weights_are_as_large_as_published_files(
    name: str, quantization: Mapping[str, Any] | None, gib: float
) -> None:
    told = estimate(VLLM, config(name, quantization), {}, H200)

    assert told.weights_mib == pytest.approx(gib * 1024, rel=0.02)


def test_data_parallel_attention_copies_the_attention_and_not_the_experts() -> None:
    split = of(SGLANG, "deepseek-v3", H200, tp_size=8).weights_mib
    copied = of(
        SGLANG, "deepseek-v3", H200, tp_size=8, dp_size=8, enable_dp_attention=True
    ).weights_mib
    spread = of(VLLM, "deepseek-v3", H200, data_parallel_size=8).weights_mib

    assert split is not None
    assert copied is not None
    assert split + 8 * 1024 < copied < split + 14 * 1024
    assert spread == pytest.approx(copied, rel=0.02)


def test_data_parallel_copies_of_a_dense_model_need_the_same_on_each_gpu() -> None:
    for engine, flag in ((VLLM, "data-parallel-size"), (SGLANG, "dp-size")):
        one = estimate(engine, config("qwen3-8b"), {}, H100)
        four = estimate(engine, config("qwen3-8b"), {flag: 4}, H100)
        assert four == one


def test_the_size_of_the_files_is_believed_unless_the_engine_converts_them() -> None:
    shape, files = config("llama-3.1-8b"), 17_000 * MIB

    as_stored = estimate(VLLM, shape, {}, H100, files)
    converted = estimate(VLLM, shape, {"quantization": "fp8"}, H100, files)
    stored_in_32_bits = estimate(VLLM, {**shape, "torch_dtype": "float32"}, {}, H100, 2 * files)

    assert as_stored.weights_mib == pytest.approx(17_000)
    assert converted.weights_mib == pytest.approx(8_660, rel=0.01)
    assert stored_in_32_bits.weights_mib == pytest.approx(15_317, rel=0.01)


def test_layers_for_drafting_in_the_files_are_not_loaded() -> None:
    files = 688_586_727_753

    told = estimate(SGLANG, config("deepseek-v3"), {"tp-size": 8}, H200, files)

    assert told.weights_mib == pytest.approx(79.5 * 1024, rel=0.02)


def test_weights_in_the_hosts_memory_are_never_a_reason_to_refuse() -> None:
    told = of(VLLM, "llama-3.1-70b", A100, cpu_offload_gb=80, max_model_len=4096)

    assert told.verdict is not TOO_BIG
    assert told.weights_mib == pytest.approx((131.4 - 80) * 1024, rel=0.01)
    assert of(VLLM, "llama-3.1-70b", A100, cpu_offload_gb=0).verdict is TOO_BIG


def test_a_cache_of_a_size_that_is_asked_for() -> None:
    vllm = of(VLLM, "qwen3-8b", RTX_4090, kv_cache_memory_bytes="16G")
    sglang = of(SGLANG, "llama-3.1-8b", H100, max_total_tokens=16_384)

    assert vllm.verdict is TIGHT
    assert "the KV cache asked for (16.0 GiB)" in vllm.reason
    assert sglang.verdict is FITS
    assert sglang.requests_at_once == pytest.approx(2)


def test_larger_batches_and_captured_graphs_take_more() -> None:
    def overhead(**flags: FlagValue) -> float:
        told = of(VLLM, "llama-3.1-8b", H100, **flags).overhead_mib
        assert told is not None
        return told

    assert overhead(max_num_batched_tokens=65_536) > 2 * overhead()
    assert overhead(max_num_seqs=2048) > overhead() > overhead(max_num_seqs=16)
    assert overhead(enforce_eager=True) == pytest.approx(overhead() - 1024)


def test_how_many_requests_fit_at_once() -> None:
    told = of(VLLM, "llama-3.1-8b", RTX_4090, max_model_len=8192)

    assert told.total_mib is not None
    assert told.usable_mib == pytest.approx(0.9 * RTX_4090)
    assert told.requests_at_once == pytest.approx(
        1 + (0.9 * RTX_4090 - told.total_mib) / 1024, rel=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "flags", "card", "why"),
    [
        ({}, {}, 0, "the card's memory is not known"),
        ({}, {}, float("nan"), "the card's memory is not known"),
        ({"model_type": "brand_new"}, {}, H100, "the model type 'brand_new' is not known"),
        ({"model_type": None}, {}, H100, "this kind of model is not known"),
        ({"hidden_size": None}, {}, H100, "config.json lacks sizes"),
        ({"quantization_config": {"quant_method": "odd"}}, {}, H100, "the way to quantize"),
        ({}, {"quantization": "odd"}, H100, "the way to quantize"),
        ({}, {"torchao-config": "int4wo-128"}, H100, "the way to quantize"),
        ({}, {"hf-overrides": '{"num_hidden_layers": 4}'}, H100, "hf-overrides may change"),
        ({}, {"config": "flags.yaml"}, H100, "config may change"),
        ({}, {"load-format": "gguf"}, H100, "load-format gguf"),
        ({}, {"device": "cpu"}, H100, "on the CPU"),
    ],
)
def test_too_few_facts(changes: dict[str, Any], flags: Flags, card: float, why: str) -> None:
    told = estimate(VLLM, {**config("llama-3.1-70b"), **changes}, flags, card)

    assert told.verdict is UNKNOWN
    assert told.reason.startswith("Memory can't be estimated: ")
    assert why in told.reason
    assert told.total_mib is None


def test_an_unfamiliar_model_is_judged_by_its_files() -> None:
    shape = {**config("llama-3.1-8b"), "model_type": "brand_new"}

    fits = estimate(VLLM, shape, {"max-model-len": 8192}, RTX_4090, 15_317 * MIB)
    unclear = estimate(VLLM, shape, {"max-model-len": 8192}, RTX_4090, 30_000 * MIB)
    too_big = estimate(VLLM, shape, {"max-model-len": 8192}, RTX_4090, 60_000 * MIB)
    shapeless = estimate(SGLANG, {"model_type": "brand_new"}, {}, RTX_4090, 60_000 * MIB)

    assert fits.verdict is FITS
    assert unclear.verdict is TIGHT
    assert too_big.verdict is TOO_BIG
    assert shapeless.verdict is TOO_BIG
    assert estimate(SGLANG, {}, {}, RTX_4090, 15_000 * MIB).verdict is UNKNOWN


def test_sparse_and_mixed_formats_are_no_reason_to_refuse() -> None:
    sparse = {**COMPRESSED_INT4, "sparsity_config": {"format": "sparse-24-bitmask"}}
    groups = {
        "a": {"weights": {"num_bits": 8}},
        "b": {"weights": {"num_bits": 4, "group_size": 128}},
    }
    mixed = {**COMPRESSED_INT4, "config_groups": groups}

    assert estimate(VLLM, config("llama-3.1-70b", sparse), {}, RTX_4090).verdict is UNKNOWN
    told = estimate(VLLM, config("llama-3.1-70b", mixed), {"max-model-len": 4096}, RTX_A6000)
    assert told.verdict is FITS


@pytest.mark.parametrize("value", [True, "", "four", 0, -1, 2.5, "1e999"])
def test_odd_values_of_flags_never_raise(value: FlagValue) -> None:
    names = (
        "tensor-parallel-size", "dp-size", "max-model-len", "context-length", "dtype",
        "gpu-memory-utilization", "mem-fraction-static", "kv-cache-dtype", "max-num-seqs",
        "chunked-prefill-size", "cpu-offload-gb", "n-gpu-layers", "ctx-size", "cache-type-k",
    )  # fmt: skip
    for engine in EngineName:
        for name in names:
            assert estimate(engine, config("qwen3-8b"), {name: value}, H100, MIB).reason


@pytest.mark.parametrize("value", [None, True, -3, 0, "12", [], {}, 1.5])
def test_odd_values_in_a_configuration_never_raise(value: object) -> None:
    for name in ("qwen3-30b-a3b", "deepseek-v3", "gemma-3-27b"):
        shape = config(name)
        for key in (*shape, "layer_types", "quantization_config", "text_config", "dtype"):
            assert estimate(VLLM, {**shape, key: value}, {}, H100).reason


def test_the_flags_that_decide_are_those_that_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: set[str] = set()

    def recording(method: Callable[..., Any]) -> Callable[..., Any]:
        def record(self: EngineFlags, *names: str) -> Any:
            asked.update(names)
            return method(self, *names)

        return record

    for name in ("text", "is_on", "sets"):
        monkeypatch.setattr(EngineFlags, name, recording(getattr(EngineFlags, name)))
    for engine, name, quantization, card, flags in KNOWN_GOOD:
        estimate(engine, config(name, quantization), flags, card)
    for flag in ({}, {"n-gpu-layers": "all"}):
        estimate(LLAMACPP, LLAMA_GGUF, flag, H100, Q4_K_M)
    assert {name for name in asked if not decides_on_memory(name)} == set()
    assert decides_on_memory("--cpu_offload_gb")
    assert not decides_on_memory("schedule-policy")


def test_llamacpp_lays_out_the_cache_of_the_whole_context() -> None:
    def told(**flags: FlagValue) -> MemoryEstimate:
        named = {flag.replace("_", "-"): value for flag, value in flags.items()}
        return estimate(LLAMACPP, LLAMA_GGUF, named, RTX_4090, Q4_K_M)

    assert told().kv_cache_mib == pytest.approx(16_384)
    assert told(ctx_size=8192, parallel=4).kv_cache_mib == pytest.approx(1024)
    quantized = told(ctx_size=8192, cache_type_k="q8_0", cache_type_v="q4_0")
    assert quantized.kv_cache_mib == pytest.approx(1024 * (34 + 18) / 2 / 64)
    assert told(ctx_size=8192, no_kv_offload=True).kv_cache_mib == 0
    half = told(n_gpu_layers=11, ctx_size=8192)
    assert half.weights_mib == pytest.approx(Q4_K_M / MIB / 3)
    assert half.kv_cache_mib == pytest.approx(1024 / 3)
    assert told(n_gpu_layers=0).total_mib == 0
    assert told(ctx_size=8192).verdict is FITS


def test_llamacpp_is_refused_only_when_told_to_put_all_layers_on_the_gpu() -> None:
    def verdict(card: float, **flags: FlagValue) -> Verdict:
        named = {flag.replace("_", "-"): value for flag, value in flags.items()}
        return estimate(LLAMACPP, LLAMA_GGUF, named, card, Q4_K_M).verdict

    assert verdict(3_072) is TIGHT
    assert verdict(3_072, n_gpu_layers="auto") is TIGHT
    assert verdict(3_072, n_gpu_layers=99) is TOO_BIG
    assert verdict(3_072, n_gpu_layers="all") is TOO_BIG
    assert verdict(3_072, n_gpu_layers=99, cpu_moe=True) is TIGHT
    assert verdict(8_192, n_gpu_layers=99, ctx_size=131_072) is TOO_BIG
    assert verdict(8_192, n_gpu_layers=99) is TIGHT
    assert verdict(8_192, n_gpu_layers=99, ctx_size=8192) is FITS


def test_llamacpp_needs_the_size_of_the_file() -> None:
    assert estimate(LLAMACPP, LLAMA_GGUF, {}, RTX_4090).verdict is UNKNOWN
    assert estimate(LLAMACPP, {}, {}, RTX_4090, Q4_K_M).verdict is UNKNOWN
