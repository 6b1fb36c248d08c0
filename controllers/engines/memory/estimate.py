"""From a model's config.json, an engine's flags and a card to a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controllers.engines.memory import llamacpp
from controllers.engines.memory.facts import Facts, MissingFact, language_facts
from controllers.engines.memory.flags import Flags
from controllers.engines.memory.judge import Needs, judge
from controllers.engines.memory.kv_cache import kv_bytes, number_width, windows_of
from controllers.engines.memory.layout import Layout, layout_of
from controllers.engines.memory.shares import Share, overhead_mib, sglang_share, vllm_share
from controllers.engines.memory.steps import sglang_step, vllm_step
from controllers.engines.memory.verdict import MIB, Bounds, MemoryEstimate, unknown
from controllers.engines.memory.weights import weights_on_gpu
from tuning.domain.names import EngineName, FlagValue

FALLBACK_CONTEXT = 2048
"""What vLLM takes where a model's configuration does not say how long a context it has."""
ORDINARY_REQUEST = 8192
"""Tokens of the longest request that SGLang should have room for, where no flag asks for more."""

_REWRITES = ("hf-overrides", "json-model-override-args", "config")
"""Flags that bring in other sizes or, from a file, other flags."""
_OTHER_LOADERS = frozenset({"bitsandbytes", "gguf"})
"""Values of `load-format` with which the files are not what config.json describes."""


@dataclass(frozen=True)
class _Case:
    """One model, one engine's flags."""

    engine: EngineName
    config: Mapping[str, Any]
    facts: Facts
    flags: Flags
    layout: Layout


def estimate(
    engine: EngineName,
    config: Mapping[str, Any],
    parameters: Mapping[str, FlagValue],
    card_mib: float,
    weights_bytes: int | None = None,
) -> MemoryEstimate:
    """Whether a model fits on cards of `card_mib` MiB with these flags.

    `config` is the model's config.json, or what `model_config` makes of a GGUF file;
    `weights_bytes` is the size of the model's files where it is known. Memory that others use on a
    card is not looked at, nor are draft models and adapters. For llama.cpp, which spreads a model
    over all cards it sees, `card_mib` is the memory of all of them together.

    Never raises: what can't be told makes the verdict UNKNOWN. TOO_BIG is said only of lower
    bounds: weights and, for vLLM, which does not start otherwise, the KV cache of one request of
    the context that the flags ask for ("Conserving Memory" in vLLM's documentation).
    """
    flags, facts = Flags(parameters), language_facts(config)
    if not math.isfinite(card_mib) or card_mib <= 0:
        return unknown(card_mib, "the card's memory is not known")
    if engine is EngineName.LLAMACPP:
        return llamacpp.estimate(facts, flags, card_mib, weights_bytes)
    if why := _unpredictable(flags):
        return unknown(card_mib, why)
    case = _Case(engine, config, facts, flags, layout_of(engine, flags))
    weights = weights_on_gpu(config, facts, flags, case.layout, weights_bytes)
    if weights is None:
        return unknown(card_mib, _why_no_weights(facts))
    share, overhead = _share_and_overhead(case, card_mib)
    try:
        needs = _needs(case, weights, overhead)
    except MissingFact as missing:
        needs = Needs(weights, None, 0, overhead, None)
        if weights.least / MIB <= share.most_mib:
            return unknown(card_mib, f"config.json has no {missing}, so the KV cache is unknown")
    return judge(engine, needs, share, card_mib)


def _unpredictable(flags: Flags) -> str | None:
    """Why these flags make config.json or the card a bad witness, if they do."""
    if rewriting := flags.sets(*_REWRITES):
        return f"{rewriting} may change the model or the flags"
    loader = flags.text("load-format").lower()
    if loader in _OTHER_LOADERS:
        return f"load-format {loader} changes what is loaded"
    if flags.text("device").lower() == "cpu":
        return "the model is to run on the CPU"
    return None


def _why_no_weights(facts: Facts) -> str:
    if facts.is_known:
        return "config.json lacks sizes, or the way to quantize is not known"
    named = f"the model type {facts.family!r}" if facts.family else "this kind of model"
    return f"{named} is not known, and the size in memory of its files neither"


def _share_and_overhead(case: _Case, card_mib: float) -> tuple[Share, float]:
    if case.engine is EngineName.VLLM:
        step = vllm_step(case.flags, card_mib)
        share = vllm_share(case.flags, card_mib)
    else:
        step = sglang_step(case.flags, case.layout, card_mib)
        share = sglang_share(case.flags, case.layout, step, card_mib)
    return share, overhead_mib(case.facts, case.layout, step)


def _needs(case: _Case, weights: Bounds, overhead: float) -> Needs:
    """What one GPU has to hold.

    Only vLLM needs room for one whole request to start, and its default context differs by
    version, so that only one that is asked for is certain. SGLang starts with less and turns longer
    requests away; in most models it keeps the whole context in layers with a window as well.

    Raises:
        MissingFact: the configuration lacks a size.
    """
    facts, flags, layout = case.facts, case.flags, case.layout
    is_vllm = case.engine is EngineName.VLLM
    asked, context = _context(case)
    windows, width = windows_of(facts), number_width(case.config, facts, flags)
    saves = is_vllm and not flags.is_on("disable-hybrid-kv-cache-manager")
    kept = windows if saves else windows.ignored()
    certain = 0.0
    if is_vllm and asked and facts.is_known:
        certain = kv_bytes(facts, windows, layout, context, width.least)
    cache = kv_bytes(facts, kept, layout, context, width.expected)
    pool: float | None = flags.whole("kv-cache-memory-bytes", "kv-cache-memory") or None
    tokens = flags.whole("max-total-tokens")
    if tokens and not is_vllm:
        pool = kv_bytes(facts, kept, layout, tokens, width.expected)
    return Needs(weights, cache, certain, overhead, context, pool)


def _context(case: _Case) -> tuple[bool, int]:
    """Whether the flags ask for a context, and the longest request to make room for, in tokens."""
    is_vllm = case.engine is EngineName.VLLM
    asked = case.flags.whole("max-model-len" if is_vllm else "context-length")
    if asked:
        return True, asked
    own = case.facts.whole_or(FALLBACK_CONTEXT, "max_position_embeddings")
    return False, own if is_vllm else min(own, ORDINARY_REQUEST)
