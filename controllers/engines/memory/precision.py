"""In how many bytes an engine keeps each parameter once the model is loaded.

Sources: "Quantization" in "Transformers documentation" (AwqConfig, GPTQConfig, BitsAndBytesConfig,
FineGrainedFP8Config, Mxfp4Config) for the keys of a `quantization_config`; "Quantization" in the
documentations of vLLM and SGLang for what `quantization` does to a model that is not quantized yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controllers.engines.memory.facts import Facts
from controllers.engines.memory.flags import Flags

SCALE_BITS = 16
"""A group's scale in GPTQ and AWQ; its zero point has as many bits as a weight."""

_GROUPED = frozenset({"awq", "gptq", "auto-round", "auto_round", "intel/auto-round", "inc"})
_STORED_BITS: Mapping[str, float] = {
    "fp8": 8,
    "fbgemm_fp8": 8,
    "w8a8_fp8": 8,
    "w8a8_int8": 8,
    "eetq": 8,
    "mxfp4": 4.25,
}
_MODELOPT_BITS: Mapping[str, float] = {"FP8": 8, "NVFP4": 4.5}
_ON_THE_FLY_BITS: Mapping[str, float] = {
    "fp8": 8,
    "fp8_per_tensor": 8,
    "fp8_per_block": 8,
    "w8a8_fp8": 8,
    "w8a8_int8": 8,
    "experts_int8": 8,
    "modelopt_fp8": 8,
    "modelopt_fp4": 4.5,
    "bitsandbytes": 4.5,
}
_EXPERTS_ONLY = frozenset({"mxfp4", "experts_int8"})
_FULL_PRECISION = frozenset({"float32", "float"})


@dataclass(frozen=True)
class Precision:
    """Bytes for each parameter: `plain` for embeddings, norms and routers.

    `converted` says that the engine changes the precision while loading, so that the files' size
    is not the size in memory.
    """

    plain: float
    linear: float
    experts: float
    converted: bool


def precision_of(config: Mapping[str, Any], facts: Facts, flags: Flags) -> Precision | None:
    """The precision in memory, or None for a way to quantize that is not known here."""
    plain = plain_bytes(flags)
    stored = quantization_config(config, facts)
    if stored:
        bits, method, converted = _bits_of(stored), str(stored.get("quant_method", "")), False
    elif flags.sets("torchao-config"):
        return None
    else:
        method = flags.text("quantization", "q")
        if method in ("", "None", "none"):
            return Precision(plain, plain, plain, _stored_bytes(config, facts) != plain)
        bits, converted = _ON_THE_FLY_BITS.get(method), True
    if bits is None:
        return None
    small = bits / 8
    linear = plain if method.lower() in _EXPERTS_ONLY else small
    return Precision(plain, linear, small, converted)


def plain_bytes(flags: Flags) -> float:
    """Bytes of a parameter that is not quantized: engines load float32 files in 16 bits too."""
    return 4 if flags.text("dtype").lower() in _FULL_PRECISION else 2


def quantization_config(config: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
    """How the model's files are quantized; empty where they are not."""
    whole = config.get("quantization_config")
    return whole if isinstance(whole, Mapping) else facts.mapping("quantization_config")


def _stored_bytes(config: Mapping[str, Any], facts: Facts) -> float | None:
    """Bytes of a parameter in files that are not quantized; None where nothing says so."""
    named = (
        facts.text("dtype") or facts.text("torch_dtype") or config.get("torch_dtype")
        or config.get("dtype")
    )  # fmt: skip
    if not named:
        return None
    return 4 if str(named).removeprefix("torch.") in _FULL_PRECISION else 2


def _bits_of(stored: Mapping[str, Any]) -> float | None:
    """Bits of a quantized weight, scales included."""
    method = str(stored.get("quant_method", "")).lower()
    if method in _GROUPED:
        return _with_scales(stored.get("bits", stored.get("w_bit")), stored.get("group_size"))
    if method == "bitsandbytes":
        return _bitsandbytes_bits(stored)
    if method == "compressed-tensors":
        return _compressed_bits(stored)
    if method.startswith("modelopt"):
        return _MODELOPT_BITS.get(str(stored.get("quant_algo")))
    return _STORED_BITS.get(method)


def _bitsandbytes_bits(stored: Mapping[str, Any]) -> float:
    """Blocks of 64 weights have a 32-bit scale each, which may be quantized as well."""
    if stored.get("load_in_8bit") is True:
        return 8
    return 4.13 if stored.get("bnb_4bit_use_double_quant") is True else 4.5


def _compressed_bits(stored: Mapping[str, Any]) -> float | None:
    """The fewest bits of any group of layers, as more would be no lower bound.

    None for sparse formats, which leave half of the weights out.
    """
    groups, sparsity = stored.get("config_groups"), stored.get("sparsity_config")
    kept = sparsity.get("format", "dense") if isinstance(sparsity, Mapping) else "dense"
    if not isinstance(groups, Mapping) or kept != "dense" or "24" in str(stored.get("format")):
        return None
    found = []
    for group in groups.values():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            found.append(_with_scales(weights.get("num_bits"), weights.get("group_size")))
    known = [bits for bits in found if bits is not None]
    return min(known) if known else None


def _with_scales(bits: object, group: object) -> float | None:
    if not isinstance(bits, int) or not 0 < bits <= 16:
        return None
    if not isinstance(group, int) or group <= 0:
        return bits
    return bits + (SCALE_BITS + bits) / group
