"""The KV cache of one request on one GPU.

Sources: "KV cache strategies" in "Transformers documentation" (a key and a value for each layer,
KV head and token); vLLM, "Hybrid KV Cache Manager" (layers with a window keep only its tokens);
SGLang, "DP, DPA and SGLang DP Router" (the latent of MLA has one head and is copied to each GPU of
a tensor-parallel group); "Quantized KV Cache" in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controllers.engines.memory.facts import Facts
from controllers.engines.memory.flags import Flags
from controllers.engines.memory.layout import Layout
from controllers.engines.memory.parameters import head_size
from controllers.engines.memory.precision import plain_bytes, quantization_config
from controllers.engines.memory.verdict import Bounds

# By the beginning of the name: fp8, fp8_e5m2, fp8_e4m3, fp8_ds_mla, ...
_BYTES: tuple[tuple[str, float], ...] = (
    ("fp8", 1),
    ("int8", 1),
    ("bf16", 2),
    ("bfloat16", 2),
    ("fp16", 2),
    ("float16", 2),
    ("half", 2),
    ("float32", 4),
    ("fp4", 0.5),
    ("nvfp4", 0.5),
)
_FEWEST_BYTES = 0.25
"""Taken for the lower bound where a data type is not known: two bits a number."""


@dataclass(frozen=True)
class Windows:
    """How many layers keep the whole context, and how many only `window` tokens."""

    full: int
    windowed: int
    window: int

    def ignored(self) -> Windows:
        """As in an engine that keeps the whole context in each layer."""
        return Windows(self.full + self.windowed, 0, 0)


def kv_bytes(facts: Facts, windows: Windows, layout: Layout, tokens: int, width: float) -> float:
    """Bytes for one request of `tokens` tokens on one GPU; `width` is bytes for each number.

    Raises:
        MissingFact: the configuration lacks a size.
    """
    numbers = cached_tokens(windows, tokens) * numbers_per_token(facts, layout)
    return numbers * width / (layout.pipeline * layout.context)


def cached_tokens(windows: Windows, tokens: int, slots: int = 1) -> int:
    """Tokens that all layers together keep of `tokens`; each slot has windows of its own."""
    return windows.full * tokens + windows.windowed * min(tokens, slots * windows.window)


def numbers_per_token(facts: Facts, layout: Layout) -> int:
    """Numbers that one layer keeps for one token on one GPU.

    Raises:
        MissingFact: the configuration lacks a size.
    """
    latent = facts.whole_or(0, "kv_lora_rank")
    if latent:
        return latent + facts.whole("qk_rope_head_dim")
    heads = facts.whole("num_key_value_heads", "num_attention_heads")
    return 2 * max(1, -(-heads // layout.attention)) * head_size(facts)


def windows_of(facts: Facts) -> Windows:
    """Which layers of a model keep how many tokens; those without attention keep none.

    Raises:
        MissingFact: the configuration lacks the number of layers.
    """
    layers = facts.whole("num_hidden_layers")
    window = _window(facts)
    kinds = facts.items("layer_types")
    if kinds:
        windowed = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
        full = sum(kind == "full_attention" for kind in kinds)
        listed = Windows(full, windowed, window)
        return listed if window else listed.ignored()
    if not window:
        return Windows(layers, 0, 0)
    full = _full_layers(facts, layers)
    return Windows(full, layers - full, window)


def number_width(config: Mapping[str, Any], facts: Facts, flags: Flags) -> Bounds:
    """Bytes of one number in the cache, by `kv-cache-dtype`; `auto` follows the model's files."""
    named = flags.text("kv-cache-dtype").lower()
    if not named:
        stored = quantization_config(config, facts)
        halved = stored.get("kv_cache_scheme") or stored.get("kv_cache_quant_algo")
        width = 1 if halved else plain_bytes(flags)
        return Bounds(width, width)
    known = next((size for start, size in _BYTES if named.startswith(start)), None)
    return Bounds(known or _FEWEST_BYTES, known or plain_bytes(flags))


def _window(facts: Facts) -> int:
    """Tokens that the windowed layers keep; 0 where every layer keeps all."""
    if not facts.holds("use_sliding_window", default=True):
        return 0
    return facts.whole_or(0, "sliding_window", "attention_chunk_size")


def _full_layers(facts: Facts, layers: int) -> int:
    """Layers that keep the whole context, in a model that has windows and does not list them."""
    chunked = facts.items("no_rope_layers")
    if chunked:
        return sum(not uses_rope for uses_rope in chunked)
    every = facts.whole_or(0, "sliding_window_pattern", "no_rope_layer_interval")
    if every:
        return layers // every
    return min(layers, facts.whole_or(0, "max_window_layers"))
