"""The verdict on what a configuration needs, and the sentence that tells users why."""

from __future__ import annotations

from dataclasses import dataclass

from controllers.engines.memory.shares import Share
from controllers.engines.memory.verdict import MIB, Bounds, MemoryEstimate, Verdict, gib
from tuning.domain.names import EngineName

COMFORT = 0.95
"""Above this part of its share an engine is so full that an estimate can't tell whether it fits."""

_NAMES = {EngineName.VLLM: "vLLM", EngineName.SGLANG: "SGLang"}


@dataclass(frozen=True)
class Needs:
    """What one GPU has to hold: bytes, and MiB where the name says so.

    `certain_kv` is the part of the KV cache without which the engine does not start. `kv_cache`
    and `context` are those of one request, None where they can't be told; `pool` is the size of
    the whole cache where the flags ask for one.
    """

    weights: Bounds
    kv_cache: float | None
    certain_kv: float
    overhead_mib: float
    context: int | None
    pool: float | None = None

    @property
    def weights_mib(self) -> float:
        return self.weights.expected / MIB

    @property
    def request_mib(self) -> float:
        return (self.kv_cache or 0) / MIB

    @property
    def cache_mib(self) -> float:
        """The cache that has to be there: the one asked for, else room for one request."""
        return self.request_mib if self.pool is None else self.pool / MIB


def judge(engine: EngineName, needs: Needs, share: Share, card_mib: float) -> MemoryEstimate:
    """TOO_BIG by lower bounds alone, TIGHT by what is likely, else FITS."""
    if (needs.weights.least + needs.certain_kv) / MIB > share.most_mib:
        verdict, reason = Verdict.TOO_BIG, _too_big(engine, needs, share, card_mib)
    elif reason := _tightness(engine, needs, share, card_mib):
        verdict = Verdict.TIGHT
    else:
        verdict, reason = Verdict.FITS, _fitting(engine, needs, share, card_mib)
    return MemoryEstimate(
        verdict=verdict,
        reason=reason,
        card_mib=card_mib,
        usable_mib=share.likely_mib,
        weights_mib=needs.weights_mib,
        kv_cache_mib=None if needs.kv_cache is None else needs.request_mib,
        overhead_mib=needs.overhead_mib,
        context_tokens=needs.context,
        requests_at_once=_requests_at_once(needs, share),
    )


def _counted_mib(needs: Needs, share: Share) -> float:
    """What has to fit into the share, without the KV cache."""
    return needs.weights_mib + (needs.overhead_mib if share.holds_overhead else 0)


def _requests_at_once(needs: Needs, share: Share) -> float | None:
    if not needs.request_mib:
        return None
    room = max(0.0, share.likely_mib - _counted_mib(needs, share))
    return (room if needs.pool is None else min(room, needs.cache_mib)) / needs.request_mib


def _too_big(engine: EngineName, needs: Needs, share: Share, card_mib: float) -> str:
    weights, cache = needs.weights.least / MIB, needs.certain_kv / MIB
    least = f"the weights take at least {gib(weights)} of each GPU"
    if weights <= share.most_mib:
        least = (
            f"the weights (at least {gib(weights)}) and the KV cache of one request of "
            f"{needs.context:,} tokens ({gib(cache)}) take {gib(weights + cache)} of each GPU"
        )
    return f"Too big: {least}, and {_limit(engine, share.most_mib, share, card_mib)}."


def _tightness(engine: EngineName, needs: Needs, share: Share, card_mib: float) -> str:
    """Why it may not work out; '' when it most likely does."""
    total = _counted_mib(needs, share) + needs.cache_mib
    if total > COMFORT * share.likely_mib:
        limit = _limit(engine, share.likely_mib, share, card_mib)
        return f"Tight: {_parts(needs, share)} take about {gib(total)} of each GPU, and {limit}."
    left = card_mib - share.likely_mib
    if not share.holds_overhead and needs.overhead_mib > left:
        return (
            f"Tight: {share.flag} leaves {gib(left)} of each GPU for activations and CUDA graphs, "
            f"which need about {gib(needs.overhead_mib)}."
        )
    return ""


def _fitting(engine: EngineName, needs: Needs, share: Share, card_mib: float) -> str:
    total = _counted_mib(needs, share) + needs.cache_mib
    limit = _limit(engine, share.likely_mib, share, card_mib)
    return f"Fits: {_parts(needs, share)} take about {gib(total)} of each GPU; {limit}."


def _parts(needs: Needs, share: Share) -> str:
    weights = f"weights ({gib(needs.weights_mib)})"
    cache = f"the KV cache of one request of {needs.context or 0:,} tokens"
    if needs.pool is not None:
        cache = "the KV cache asked for"
    cache += f" ({gib(needs.cache_mib)})"
    if share.holds_overhead:
        return f"{weights}, {cache} and overhead ({gib(needs.overhead_mib)})"
    return f"{weights} and {cache}"


def _limit(engine: EngineName, limit_mib: float, share: Share, card_mib: float) -> str:
    by = f" ({share.flag} {limit_mib / card_mib:.2g})" if share.flag else ""
    return f"{_NAMES[engine]} fills at most {gib(limit_mib)} of this {gib(card_mib)} card{by}"
