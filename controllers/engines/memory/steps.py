"""How much each engine computes in one step, by its flags and its defaults for the card.

Sources: vLLM, "Optimization and Tuning" and "Engine Arguments"; SGLang, "Server Arguments", whose
defaults `server_args.py` chooses by the card's memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from controllers.engines.memory.flags import Flags
from controllers.engines.memory.layout import Layout

GRAPH_MIB_PER_REQUEST = 2
"""CUDA graphs, for each request of the largest batch that is captured."""
LARGEST_CAPTURE = 512
LARGE_CARD_MIB = 60 * 1024
"""Cards from here on are for data centres, and engines compute longer steps on them."""


@dataclass(frozen=True)
class Step:
    """The largest amount of work that one step of an engine computes."""

    tokens: int
    requests: int
    captured: int


def vllm_step(flags: Flags, card_mib: float) -> Step:
    """vLLM's defaults depend on the card: larger ones compute longer steps."""
    requests = flags.whole("max-num-seqs") or 256
    tokens = flags.whole("max-num-batched-tokens")
    return Step(
        tokens=tokens or (8192 if card_mib > LARGE_CARD_MIB else 2048),
        requests=requests,
        captured=0 if flags.is_on("enforce-eager") else min(2 * requests, LARGEST_CAPTURE),
    )


def sglang_step(flags: Flags, layout: Layout, card_mib: float) -> Step:
    """SGLang's defaults by the card's memory, as `server_args.py` chooses them."""
    chunk, captured = _sglang_defaults(card_mib, layout.tensor)
    tokens = flags.whole("chunked-prefill-size") or flags.whole("max-prefill-tokens") or chunk
    captured = flags.whole("cuda-graph-max-bs") or captured
    return Step(
        tokens=tokens,
        requests=flags.whole("max-running-requests") or captured,
        captured=0 if flags.is_on("disable-cuda-graph") else captured,
    )


def _sglang_defaults(card_mib: float, tensor: int) -> tuple[int, int]:
    """`chunked-prefill-size` and `cuda-graph-max-bs`."""
    few = tensor < 4
    if card_mib < 20 * 1024:
        return 2048, 8
    if card_mib < 35 * 1024:
        return 2048, 24 if few else 80
    if card_mib < LARGE_CARD_MIB:
        return 4096, 32 if few else 160
    if card_mib < 160 * 1024:
        return 8192, 256 if few else 512
    return 16_384, 512
