"""What an estimate says, in numbers and in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MIB = 1024 * 1024
MIB_PER_GIB = 1024


class Verdict(StrEnum):
    """Whether a configuration should be launched, as far as memory goes."""

    FITS = "fits"
    TIGHT = "tight"
    """Launch it with a warning: the estimate is too close to the limit to tell."""
    TOO_BIG = "too_big"
    """Don't launch it: not even a lower bound of what it needs is there."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class MemoryEstimate:
    """What one GPU has to hold, in MiB; None for what could not be told.

    `kv_cache_mib` is for one request of `context_tokens`, of which `requests_at_once` fit into
    what is left for the cache ("maximum concurrency" in vLLM's log). `usable_mib` is what the
    engine lets itself fill; whether the overhead (activations, CUDA graphs, runtime) comes out of
    it depends on the engine.
    """

    verdict: Verdict
    reason: str
    card_mib: float
    usable_mib: float | None = None
    weights_mib: float | None = None
    kv_cache_mib: float | None = None
    overhead_mib: float | None = None
    context_tokens: int | None = None
    requests_at_once: float | None = None

    @property
    def total_mib(self) -> float | None:
        """Weights, one request's KV cache and overhead; None unless all three are known."""
        parts = (self.weights_mib, self.kv_cache_mib, self.overhead_mib)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


@dataclass(frozen=True)
class Bounds:
    """A number of bytes: surely not less than `least`, most likely `expected`."""

    least: float
    expected: float


def gib(mib: float) -> str:
    """`mib` as a reader wants it: `17.3 GiB`."""
    return f"{mib / MIB_PER_GIB:,.1f} GiB"


def unknown(card_mib: float, why: str) -> MemoryEstimate:
    return MemoryEstimate(Verdict.UNKNOWN, f"Memory can't be estimated: {why}.", card_mib)
