"""How much of a card each engine fills, and what it needs besides weights and KV cache.

Sources: vLLM, "Engine Arguments" and "Conserving Memory"; SGLang, "Server Arguments" and
"Hyperparameter Tuning". The formula for what SGLang leaves free by default is that of its
`server_args.py` (GPU memory = weights + KV cache pool + activations + CUDA graph buffers).
"""

from __future__ import annotations

from dataclasses import dataclass

from controllers.engines.memory.facts import Facts, MissingFact
from controllers.engines.memory.flags import Flags
from controllers.engines.memory.layout import Layout
from controllers.engines.memory.parameters import widest_step
from controllers.engines.memory.steps import GRAPH_MIB_PER_REQUEST, LARGE_CARD_MIB, Step
from controllers.engines.memory.verdict import MIB

VLLM_SHARE = 0.9
VLLM_HIGHEST_SHARE = 0.92
"""Defaults of `gpu-memory-utilization`: of most versions, and the highest of any."""
SGLANG_HIGHEST_SHARE = 0.95
"""Above what SGLang takes for `mem-fraction-static` by default, on any card."""

RUNTIME_MIB = 600
"""CUDA's context and the libraries' kernels: an estimate."""
NCCL_MIB = 400
"""Buffers of the communication between GPUs: an estimate."""
HIDDEN_ROWS, MLP_ROWS = 4, 3
"""Rows alive at once in a layer: residual, its norm, attention in and out; gate, up, product."""


@dataclass(frozen=True)
class Share:
    """What an engine lets itself fill of a card, in MiB.

    No version fills more than `most_mib`. `holds_overhead` tells whether the overhead comes out
    of `likely_mib` or has to find room in the rest of the card. `flag` is how a user changes it; ''
    where no flag does.
    """

    likely_mib: float
    most_mib: float
    holds_overhead: bool
    flag: str


def vllm_share(flags: Flags, card_mib: float) -> Share:
    """vLLM takes weights, activations and KV cache out of one share of the whole card."""
    flag = "gpu-memory-utilization"
    if flags.text("kv-cache-memory-bytes", "kv-cache-memory"):
        return Share(card_mib, card_mib, True, "")
    stated = flags.share(flag)
    likely, most = (stated, stated) if stated else (VLLM_SHARE, VLLM_HIGHEST_SHARE)
    return Share(likely * card_mib, most * card_mib, True, flag)


def sglang_share(flags: Flags, layout: Layout, step: Step, card_mib: float) -> Share:
    """SGLang fills a static share with weights and KV cache, and leaves the rest to the others."""
    flag = "mem-fraction-static"
    stated = flags.share(flag)
    if stated:
        return Share(stated * card_mib, stated * card_mib, False, flag)
    reserved = 512 + 1.5 * max(step.tokens, 2048) + GRAPH_MIB_PER_REQUEST * step.captured
    reserved += layout.gpus / 8 * 1024
    if card_mib > LARGE_CARD_MIB:
        reserved = max(reserved, 10 * 1024)
    likely = max(0.0, card_mib - reserved)
    return Share(likely, max(likely, SGLANG_HIGHEST_SHARE * card_mib), False, flag)


def overhead_mib(facts: Facts, layout: Layout, step: Step) -> float:
    """Activations, logits, CUDA graphs and runtime on one GPU: an estimate, never a bound.

    The activations of a step are the rows of the widest layer, in 16 bits, and the logits of each
    request twice in 32 bits.
    """
    try:
        hidden, wide = facts.whole("hidden_size"), widest_step(facts) / layout.tensor
    except MissingFact:
        hidden, wide = 8192, 28_672 / layout.tensor
    rows = HIDDEN_ROWS * hidden + MLP_ROWS * wide
    logits = step.requests * facts.whole_or(128_000, "vocab_size") * 4 * 2
    fixed = RUNTIME_MIB + (NCCL_MIB if layout.gpus > 1 else 0)
    return fixed + (step.tokens * rows * 2 + logits) / MIB + GRAPH_MIB_PER_REQUEST * step.captured
