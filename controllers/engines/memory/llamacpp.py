"""llama.cpp: a GGUF file, and the KV cache of its whole context, laid out when it starts.

Sources: "LLaMA.cpp HTTP Server", the page on llama-server's options (`ctx-size` is shared by all
`parallel` slots; `n-gpu-layers` and `fit`), and "GGUF" for the bits of each data type.
"""

from __future__ import annotations

from controllers.engines.memory.facts import Facts, MissingFact
from controllers.engines.memory.flags import Flags
from controllers.engines.memory.judge import COMFORT
from controllers.engines.memory.kv_cache import cached_tokens, numbers_per_token, windows_of
from controllers.engines.memory.layout import Layout
from controllers.engines.memory.verdict import MIB, MemoryEstimate, Verdict, gib, unknown

RUNTIME_MIB = 300
"""The device's context and ggml's kernels: an estimate."""

_LAYER_FLAGS = ("n-gpu-layers", "gpu-layers", "ngl")
_CONTEXT_FLAGS = ("ctx-size", "c")
_KEEPS_IN_RAM = ("cpu-moe", "n-cpu-moe", "override-tensor", "cmoe", "ncmoe", "ot")
# Bytes a number: blocks of 32 with their scales.
_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}


def estimate(
    facts: Facts, flags: Flags, card_mib: float, weights_bytes: int | None
) -> MemoryEstimate:
    """How much of the GPUs' memory llama.cpp takes.

    It is refused only where `n-gpu-layers` asks for all layers: without it, llama.cpp leaves in the
    host's memory what does not fit, as it always does with the input embeddings.
    """
    if not weights_bytes:
        return unknown(card_mib, "the size of the model's file is not known")
    try:
        share = _offloaded(facts, flags)
        context = flags.whole(*_CONTEXT_FLAGS) or facts.whole("max_position_embeddings")
        cache = 0.0 if _cache_in_ram(flags) else _cache_bytes(facts, flags, context) * share
    except MissingFact as missing:
        return unknown(card_mib, f"the model's file has no {missing}")
    weights_mib, cache_mib = weights_bytes * share / MIB, cache / MIB
    overhead_mib = _overhead_mib(facts, flags) if share else 0.0
    total = weights_mib + cache_mib + overhead_mib
    verdict = Verdict.FITS if total <= COMFORT * card_mib else Verdict.TIGHT
    certain_mib = max(0.0, weights_mib - _embeddings_mib(facts))
    certain_mib += cache_mib if flags.whole(*_CONTEXT_FLAGS) else 0
    if _needs_all_layers(flags, share) and certain_mib > card_mib:
        verdict = Verdict.TOO_BIG
    return MemoryEstimate(
        verdict=verdict,
        reason=_sentence(verdict, (weights_mib, cache_mib, overhead_mib), context, card_mib),
        card_mib=card_mib,
        usable_mib=card_mib,
        weights_mib=weights_mib,
        kv_cache_mib=cache_mib,
        overhead_mib=overhead_mib,
        context_tokens=context,
    )


def _offloaded(facts: Facts, flags: Flags) -> float:
    """The share of the model that goes to the GPU; the output layer counts as one layer more.

    Raises:
        MissingFact: the file lacks the number of layers.
    """
    layers, asked = facts.whole("num_hidden_layers"), flags.whole(*_LAYER_FLAGS)
    return 1.0 if asked is None else min(1.0, asked / (layers + 1))


def _needs_all_layers(flags: Flags, share: float) -> bool:
    """Whether the flags leave llama.cpp no way to keep some of the model in RAM."""
    asked = flags.whole(*_LAYER_FLAGS) is not None or flags.text(*_LAYER_FLAGS).lower() == "all"
    return asked and share == 1 and not flags.sets(*_KEEPS_IN_RAM)


def _embeddings_mib(facts: Facts) -> float:
    """The input embeddings in 16 bits, the most that a quantized file keeps them in."""
    return facts.whole_or(0, "vocab_size") * facts.whole_or(0, "hidden_size") * 2 / MIB


def _cache_in_ram(flags: Flags) -> bool:
    return flags.is_on("no-kv-offload", "nkvo")


def _cache_bytes(facts: Facts, flags: Flags, context: int) -> float:
    """Keys and values of `context` tokens, which all slots share.

    Each slot has a window of its own in layers with one, unless `swa-full` is set.

    Raises:
        MissingFact: the file lacks a size.
    """
    windows = windows_of(facts)
    if flags.is_on("swa-full"):
        windows = windows.ignored()
    kinds = [flags.text(name).lower() for name in ("cache-type-k", "cache-type-v")]
    width = sum(_BYTES.get(kind, 2.0) for kind in kinds) / len(kinds)
    tokens = cached_tokens(windows, context, flags.count("parallel", "np"))
    return tokens * numbers_per_token(facts, Layout()) * width


def _overhead_mib(facts: Facts, flags: Flags) -> float:
    """The runtime, and a micro-batch of logits in 32 bits: an estimate."""
    rows = flags.whole("ubatch-size", "ub") or 512
    return RUNTIME_MIB + rows * facts.whole_or(128_000, "vocab_size") * 4 / MIB


def _sentence(
    verdict: Verdict, parts: tuple[float, float, float], context: int, card_mib: float
) -> str:
    weights, cache, overhead = (gib(part) for part in parts)
    start = {Verdict.FITS: "Fits", Verdict.TIGHT: "Tight", Verdict.TOO_BIG: "Too big"}[verdict]
    return (
        f"{start}: weights ({weights}), the KV cache of {context:,} tokens ({cache}) and overhead "
        f"({overhead}) take about {gib(sum(parts))} of {gib(card_mib)} on the GPU."
    )
