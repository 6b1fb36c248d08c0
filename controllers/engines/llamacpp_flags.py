"""The flags of the embedded llama.cpp server: names, meanings, and what each sets.

Names, meanings and defaults are those of llama.cpp's own `llama-server --help`; each is here only
if `xllamacpp.CommonParams` really has the setting. Left out on purpose: sampling (the requests of
a benchmark set their own), speculative decoding, adapters, multimodal models, keys and the web
page. This module does not import xllamacpp, so that the table can be read where it is missing.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controllers.engines.known_flag import Bounds, FlagType, KnownFlag

MAX_THREADS = 512
"""ggml's GGML_MAX_N_THREADS; above it the server would misbehave instead of refusing."""
MAX_SLOTS = 256
"""llama.cpp's LLAMA_MAX_SEQ; above it no context can be made."""

Reader = Callable[[str], Any]
"""Turns a flag's text into a value; raises `argparse.ArgumentTypeError` saying what is right.

argparse looks readers up in a dict, so they have to be hashable: hence `eq=False` below.
"""


@dataclass(frozen=True)
class Member:
    """A member of one of xllamacpp's enums, by name."""

    enum: str
    name: str


@dataclass(frozen=True, eq=False)
class Whole:
    """A whole number from `minimum` to `maximum`, or one of `words`."""

    minimum: int
    maximum: int | None = None
    words: Mapping[str, int] | None = None

    def __call__(self, text: str) -> int:
        if self.words and text in self.words:
            return self.words[text]
        try:
            value = int(text)
        except ValueError:
            value = self.minimum - 1
        if value < self.minimum or (self.maximum is not None and value > self.maximum):
            raise argparse.ArgumentTypeError(f"{text!r} is not {self.description}")
        return value

    @property
    def description(self) -> str:
        upper = "or more" if self.maximum is None else f"to {self.maximum}"
        words = "".join(f", or {word}" for word in self.words or ())
        return f"a whole number of {self.minimum} {upper}{words}"


@dataclass(frozen=True, eq=False)
class Fraction:
    """A finite number from `minimum` to `maximum`."""

    minimum: float
    maximum: float

    def __call__(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not self.minimum <= value <= self.maximum:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number from {self.minimum:g} to {self.maximum:g}"
            )
        return value


@dataclass(frozen=True, eq=False)
class Choice:
    """One of a few words."""

    values: Mapping[str, Any]

    def __call__(self, text: str) -> Any:
        if text not in self.values:
            raise argparse.ArgumentTypeError(
                f"{text!r} is none of the valid values: {', '.join(self.values)}"
            )
        return self.values[text]


def proportions(text: str) -> list[float]:
    """Comma-separated shares, one for each GPU, none negative."""
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if not shares or any(not 0 <= share < math.inf for share in shares):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of shares such as 3,1")
    return shares


@dataclass(frozen=True)
class ServerFlag:
    """One flag: `names` as typed, the long name first; `targets` are paths below CommonParams.

    A switch takes no text and sets `constant`. With `bare`, the text may be left out and means
    that word.
    """

    names: tuple[str, ...]
    meaning: str
    default: str
    targets: tuple[str, ...]
    reader: Reader | None = None
    constant: Any = None
    bare: str | None = None

    @property
    def is_switch(self) -> bool:
        return self.reader is None

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(self.reader.values) if isinstance(self.reader, Choice) else ()


def _setting(
    names: str, target: str, reader: Reader, default: str, meaning: str, bare: str | None = None
) -> ServerFlag:
    return ServerFlag(
        tuple(names.split()), meaning, default, tuple(target.split()), reader, bare=bare
    )


def _switch(
    names: str, target: str, constant: Any, meaning: str, default: str = "off"
) -> ServerFlag:
    return ServerFlag(
        tuple(names.split()), meaning, default, tuple(target.split()), constant=constant
    )


_CACHE_TYPES = Choice(
    {
        name: Member("ggml_type", f"GGML_TYPE_{name.upper()}")
        for name in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
    }
)
_LOAD_MODES = {
    "auto": Member("llama_load_mode", "LLAMA_LOAD_MODE_AUTO"),
    "none": Member("llama_load_mode", "LLAMA_LOAD_MODE_NONE"),
    "mmap": Member("llama_load_mode", "LLAMA_LOAD_MODE_MMAP"),
    "mlock": Member("llama_load_mode", "LLAMA_LOAD_MODE_MLOCK"),
    "mmap+mlock": Member("llama_load_mode", "LLAMA_LOAD_MODE_MMAP_MLOCK"),
    "dio": Member("llama_load_mode", "LLAMA_LOAD_MODE_DIRECT_IO"),
}
_PRIORITIES = Choice(
    {
        text: Member("ggml_sched_priority", f"GGML_SCHED_PRIO_{name}")
        for text, name in (
            ("-1", "LOW"), ("0", "NORMAL"), ("1", "MEDIUM"), ("2", "HIGH"), ("3", "REALTIME")
        )
    }
)  # fmt: skip
_ZERO_ONE = Choice({"0": False, "1": True})
_THREADS = Whole(1, MAX_THREADS, {"-1": -1})

THREAD_FLAGS = (
    _setting("--threads -t", "cpuparams.n_threads", _THREADS, "as many as cores",
             "CPU threads used while generating; -1 leaves the number to the engine"),
    _setting("--threads-batch -tb", "cpuparams_batch.n_threads", _THREADS, "same as threads",
             "CPU threads used for prompts and batches"),
    _setting("--threads-http", "n_threads_http", _THREADS, "-1",
             "threads that take HTTP requests; -1 leaves the number to the engine"),
    _setting("--cpu-strict", "cpuparams.strict_cpu", _ZERO_ONE, "0",
             "strict placement of threads on CPUs"),
    _setting("--cpu-strict-batch", "cpuparams_batch.strict_cpu", _ZERO_ONE, "0",
             "strict placement of batch threads on CPUs"),
    _setting("--prio", "cpuparams.priority", _PRIORITIES, "0",
             "thread priority: low (-1), normal, medium, high, realtime (3)"),
    _setting("--prio-batch", "cpuparams_batch.priority", _PRIORITIES, "0",
             "priority of the batch threads"),
    _setting("--poll", "cpuparams.poll", Whole(0, 100), "50",
             "how eagerly idle threads poll for work; 0 lets them sleep at once"),
    _setting("--poll-batch", "cpuparams_batch.poll", Whole(0, 100), "50",
             "the same for the batch threads"),
    _setting("--numa", "numa", Choice({
        "distribute": Member("ggml_numa_strategy", "GGML_NUMA_STRATEGY_DISTRIBUTE"),
        "isolate": Member("ggml_numa_strategy", "GGML_NUMA_STRATEGY_ISOLATE"),
        "numactl": Member("ggml_numa_strategy", "GGML_NUMA_STRATEGY_NUMACTL"),
    }), "not set", "how to use the nodes of a NUMA host"),
)  # fmt: skip

BATCH_FLAGS = (
    _setting("--parallel -np", "n_parallel", Whole(1, MAX_SLOTS, {"-1": -1}), "-1",
             "slots, that is requests served at the same time; -1 means 4 with a unified KV cache"),
    _setting("--batch-size -b", "n_batch", Whole(1), "2048",
             "most tokens in one logical batch"),
    _setting("--ubatch-size -ub", "n_ubatch", Whole(1), "512",
             "most tokens computed at once (physical batch)"),
    _setting("--ctx-size -c", "n_ctx", Whole(0), "0",
             "context in tokens, shared by all slots; 0 takes the model's own"),
    _setting("--n-predict --predict -n", "n_predict", Whole(-1), "-1",
             "most tokens generated for one request; -1 sets no limit"),
    _setting("--keep", "n_keep", Whole(-1), "0",
             "tokens of the first prompt kept when the context is full; -1 keeps all"),
    _switch("--cont-batching -cb", "cont_batching", True,
            "put new requests into a running batch", "on"),
    _switch("--no-cont-batching -nocb", "cont_batching", False,
            "serve a batch to its end before the next"),
    _setting("--slot-prompt-similarity -sps", "slot_prompt_similarity", Fraction(0, 1), "0.1",
             "how much of a prompt a slot must share to be chosen for it; 0 turns this off"),
    _switch("--warmup", "warmup", True, "run an empty batch before listening", "on"),
    _switch("--no-warmup", "warmup", False, "listen without warming up"),
)  # fmt: skip

CACHE_FLAGS = (
    _setting("--flash-attn -fa", "flash_attn_type", Choice({
        "on": Member("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_ENABLED"),
        "off": Member("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_DISABLED"),
        "auto": Member("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_AUTO"),
    }), "auto", "Flash Attention; a quantized V cache needs it", bare="on"),
    _setting("--cache-type-k -ctk", "cache_type_k", _CACHE_TYPES, "f16",
             "data type of the K cache"),
    _setting("--cache-type-v -ctv", "cache_type_v", _CACHE_TYPES, "f16",
             "data type of the V cache"),
    _switch("--kv-unified -kvu", "kv_unified", True,
            "one KV cache shared by all slots instead of an equal share for each",
            "on when parallel is not set"),
    _switch("--no-kv-unified -no-kvu", "kv_unified", False, "an equal share of the KV cache each"),
    _switch("--cache-prompt", "cache_prompt", True, "reuse what a slot has computed", "on"),
    _switch("--no-cache-prompt", "cache_prompt", False, "compute every prompt from the start"),
    _setting("--cache-reuse", "n_cache_reuse", Whole(0), "0",
             "shortest run of tokens reused by shifting the KV cache; 0 turns this off"),
    _setting("--cache-ram -cram", "cache_ram_mib", Whole(-1), "8192",
             "MiB of RAM for prompts of earlier requests; -1 sets no limit, 0 turns this off"),
    _switch("--cache-idle-slots", "cache_idle_slots", True,
            "save idle slots into the prompt cache", "on"),
    _switch("--no-cache-idle-slots", "cache_idle_slots", False, "forget idle slots"),
    _setting("--ctx-checkpoints --swa-checkpoints -ctxcp", "n_ctx_checkpoints", Whole(0), "32",
             "most checkpoints of the context kept for each slot"),
    _switch("--context-shift", "ctx_shift", True, "drop the oldest tokens of a full context"),
    _switch("--no-context-shift", "ctx_shift", False, "stop when the context is full", "on"),
    _switch("--swa-full", "swa_full", True, "full-size cache for sliding-window attention"),
)  # fmt: skip

DEVICE_FLAGS = (
    _setting("--load-mode -lm", "load_mode", Choice(_LOAD_MODES), "auto",
             "how the model file is read"),
    _setting("--lazy-mode -lzm", "lazy_mode", Choice({
        "on": Member("llama_lazy_mode", "LLAMA_LAZY_MODE_ON"),
        "auto": Member("llama_lazy_mode", "LLAMA_LAZY_MODE_AUTO"),
        "off": Member("llama_lazy_mode", "LLAMA_LAZY_MODE_OFF"),
    }), "auto", "read certain large tensors on demand"),
    _switch("--mlock", "load_mode", _LOAD_MODES["mmap+mlock"],
            "keep the model in RAM (older spelling of load-mode mmap+mlock)"),
    _switch("--no-mmap", "load_mode", _LOAD_MODES["none"],
            "read the model instead of mapping it (older spelling of load-mode none)"),
    _setting("--n-gpu-layers --gpu-layers -ngl", "n_gpu_layers",
             Whole(-1, words={"auto": -1, "all": -2}), "auto",
             "layers kept on the GPU; -1 is auto"),
    _setting("--split-mode -sm", "split_mode", Choice({
        name: Member("llama_split_mode", f"LLAMA_SPLIT_MODE_{name.upper()}")
        for name in ("none", "layer", "row", "tensor")
    }), "layer", "how the model is spread over several GPUs"),
    _setting("--tensor-split -ts", "tensor_split", proportions, "by free memory",
             "share of the model for each GPU, such as 3,1"),
    _setting("--main-gpu -mg", "main_gpu", Whole(0), "0", "the GPU used with split-mode none"),
    _setting("--fit -fit", "fit_params", Choice({"on": True, "off": False}), "on",
             "adapt what is not set to the memory of the devices"),
    _setting("--fit-ctx -fitc", "fit_params_min_ctx", Whole(1), "4096",
             "smallest context that fit may choose, in tokens"),
    _switch("--kv-offload -kvo", "no_kv_offload", False, "keep the KV cache on the GPU", "on"),
    _switch("--no-kv-offload -nkvo", "no_kv_offload", True, "keep the KV cache in RAM"),
    _switch("--op-offload", "no_op_offload", False, "compute on the GPU what lies in RAM", "on"),
    _switch("--no-op-offload", "no_op_offload", True, "compute in RAM what lies in RAM"),
    _switch("--repack", "no_extra_bufts", False, "rearrange weights for the CPU", "on"),
    _switch("--no-repack -nr", "no_extra_bufts", True, "leave the weights as they are"),
    _switch("--no-host", "no_host", True, "bypass the host buffer"),
    _switch("--check-tensors", "check_tensors", True, "look for invalid values in the model"),
)  # fmt: skip

SERVER_FLAGS = (
    _setting("--timeout -to", "timeout_read timeout_write", Whole(1), "3600",
             "seconds until an idle connection is closed"),
    _switch("--metrics", "endpoint_metrics", True, "answer /metrics for Prometheus"),
    _switch("--slots", "endpoint_slots", True, "answer /slots", "on"),
    _switch("--no-slots", "endpoint_slots", False, "don't answer /slots"),
    _switch("--props", "endpoint_props", True, "let POST /props change settings"),
    _switch("--jinja", "use_jinja", True, "use the model's own chat template", "on"),
    _switch("--no-jinja", "use_jinja", False, "use a built-in chat template"),
    _switch("--perf", "no_perf", False, "measure time inside the library", "on"),
    _switch("--no-perf", "no_perf", True, "don't measure time inside the library"),
    _setting("--verbosity --log-verbosity -lv", "verbosity", Whole(0, 5), "3",
             "what is logged: 1 errors, 2 warnings, 3 information, 4 and 5 more"),
)  # fmt: skip

FLAGS: tuple[ServerFlag, ...] = (
    *THREAD_FLAGS, *BATCH_FLAGS, *CACHE_FLAGS, *DEVICE_FLAGS, *SERVER_FLAGS
)  # fmt: skip


def known_flags() -> dict[str, KnownFlag]:
    """Every flag of the table by its first long name, without dashes."""
    return {flag.name: flag for flag in map(_known_flag, FLAGS)}


def _known_flag(flag: ServerFlag) -> KnownFlag:
    name, *aliases = (
        spelling.removeprefix("--") for spelling in flag.names if spelling.startswith("--")
    )
    bounds = Bounds()
    words: tuple[str, ...] = ()
    match flag.reader:
        case None:
            kind = FlagType.SWITCH
        case Choice():
            kind = FlagType.CHOICE
        case Whole(minimum, maximum):
            kind, bounds = FlagType.INT, Bounds(minimum, maximum)
            words = tuple(flag.reader.words or ())
        case Fraction(minimum, maximum):
            kind, bounds = FlagType.FLOAT, Bounds(minimum, maximum)
        case _:
            kind = FlagType.TEXT
    return KnownFlag(
        name=name,
        meaning=flag.meaning,
        default=flag.default,
        values=flag.values,
        type=kind,
        bounds=bounds,
        words=words,
        bare=flag.bare,
        aliases=tuple(aliases),
    )
