"""The flags of an engine that decide over memory, whichever way they are spelt."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tuning.domain.names import FlagValue

# vLLM's human-readable whole numbers, "Engine Arguments": 1k is 1,000 and 1K is 1,024.
_MULTIPLES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)([kmgKMG]?)")

_DECIDING = frozenset({
    # How the model is spread.
    *("tensor-parallel-size", "tp-size", "tp", "pipeline-parallel-size", "pp-size", "pp"),
    *("data-parallel-size", "dp-size", "dp", "enable-dp-attention", "device"),
    *("decode-context-parallel-size", "dcp-size", "prefill-context-parallel-size"),
    *("n-gpu-layers", "gpu-layers", "ngl", "cpu-moe", "n-cpu-moe", "cmoe", "ncmoe"),
    *("override-tensor", "ot"),
    # Bits of weights and cache.
    *("dtype", "quantization", "q", "torchao-config", "load-format", "kv-cache-dtype"),
    *("cache-type-k", "cache-type-v"),
    # Size of the cache.
    *("max-model-len", "context-length", "ctx-size", "c", "parallel", "np", "swa-full"),
    *("max-total-tokens", "kv-cache-memory-bytes", "kv-cache-memory", "no-kv-offload", "nkvo"),
    *("disable-hybrid-kv-cache-manager", "gpu-memory-utilization", "mem-fraction-static"),
    # Size of a step.
    *("max-num-seqs", "max-num-batched-tokens", "enforce-eager", "chunked-prefill-size"),
    *("max-prefill-tokens", "cuda-graph-max-bs", "max-running-requests", "disable-cuda-graph"),
    *("ubatch-size", "ub"),
    # Other sizes, or other flags.
    *("hf-overrides", "json-model-override-args", "config"),
})  # fmt: skip
_OFFLOADING = "offload"


def decides_on_memory(name: str) -> bool:
    """Whether an estimate looks at the flag `name`, however it is written."""
    plain = _plain(name)
    return plain in _DECIDING or _OFFLOADING in plain


def _plain(name: str) -> str:
    return name.lstrip("-").replace("_", "-")


class Flags:
    """Flags by name without dashes in front; `-` and `_` inside a name are the same."""

    def __init__(self, parameters: Mapping[str, FlagValue]) -> None:
        self._values = {_plain(name): value for name, value in parameters.items()}

    def text(self, *names: str) -> str:
        """The first of `names` that is set, as written; '' for none and for `auto`."""
        for name in names:
            value = self._values.get(name)
            if value is not None and not isinstance(value, bool):
                written = str(value).strip()
                return "" if written.lower() == "auto" else written
        return ""

    def whole(self, *names: str) -> int | None:
        """The first of `names` that is set, as a number of 0 or more; None for any other text."""
        found = _NUMBER.fullmatch(self.text(*names))
        return int(float(found[1]) * _MULTIPLES[found[2]]) if found else None

    def count(self, *names: str) -> int:
        """A degree of parallelism: 1 where it is not set."""
        return max(1, self.whole(*names) or 1)

    def share(self, *names: str) -> float | None:
        """A number above 0 and up to 1; None for anything else."""
        try:
            value = float(self.text(*names))
        except ValueError:
            return None
        return value if math.isfinite(value) and 0 < value <= 1 else None

    def is_on(self, *names: str) -> bool:
        return any(self._values.get(name) is True for name in names)

    def any_on(self, part: str) -> bool:
        """Whether a flag with `part` in its name is set to something other than off or 0."""
        return any(
            part in name and value is not False and str(value) not in ("0", "0.0", "")
            for name, value in self._values.items()
        )

    def sets(self, *names: str) -> str | None:
        """The first of `names` that is set to anything but off."""
        return next((name for name in names if self._values.get(name, False) is not False), None)
