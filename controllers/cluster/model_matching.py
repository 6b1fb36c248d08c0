"""Whether a serving runtime takes a model, and which of several takes it best, as OME decides it.

Sources: OME v0.1.5, `pkg/runtimeselector` (matcher.go, scorer.go) and `pkg/modelver`; its page
"Runtime selection scoring".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SIZE_UNITS = {"T": 10**12, "B": 10**9, "M": 10**6}
_FORMAT_WEIGHT = 10
_FRAMEWORK_WEIGHT = 5
"""What OME counts for a weight of 0, which is not the default of its API: that is 1."""
_VERSION = re.compile(
    r"(?P<prefix>v?)(?P<major>\d+)(\.(?P<minor>\d+)(\.(?P<patch>\d+)"
    r"(\.(?P<dev>[^+-]+))?(-(?P<pre>[^+]+))?(\+(?P<build>.+))?)?)?"
)
_NAMES = (("modelArchitecture", "architecture"), ("quantization", "quantization"))
_VERSIONED = (("modelFormat", "format"), ("modelFramework", "framework"))


@dataclass(frozen=True)
class _Version:
    """`precision` is the number of parts given; `extra` tells releases that are not official."""

    numbers: tuple[int, int, int]
    extra: tuple[str, ...]
    precision: int
    prefix: str


def mismatch(runtime: Mapping[str, Any], model: Mapping[str, Any]) -> str | None:
    """Why a runtime does not take a model, as the end of a sentence that begins with the runtime;
    None where it does. Both are the `spec` of their objects."""
    formats: Sequence[Mapping[str, Any]] = runtime.get("supportedModelFormats") or ()
    if not formats:
        return "names no model format that it takes"
    reasons = [_format_mismatch(one, model) for one in formats]
    if None not in reasons:
        return f"is for another {' or '.join(dict.fromkeys(filter(None, reasons)))}"
    return _size_mismatch(runtime.get("modelSizeRange") or {}, model)


def score(runtime: Mapping[str, Any], model: Mapping[str, Any]) -> int:
    """The larger, the better; 0 for a runtime that is not chosen by itself."""
    formats: Sequence[Mapping[str, Any]] = runtime.get("supportedModelFormats") or ()
    return max((_format_score(one, model) for one in formats), default=0)


def size_distance(runtime: Mapping[str, Any], model: Mapping[str, Any]) -> float:
    """How far the bounds of a runtime's size range are from a model's size, in parameters.

    A runtime without a range has a distance of 0, the best there is.
    """
    size = model.get("modelParameterSize")
    bounds: Mapping[str, str] = runtime.get("modelSizeRange") or {}
    if size is None:
        return 0.0
    given = [bounds[end] for end in ("min", "max") if bounds.get(end)]
    return sum(abs(_parameters(bound) - _parameters(size)) for bound in given)


def is_chosen_by_itself(runtime: Mapping[str, Any]) -> bool:
    formats: Sequence[Mapping[str, Any]] = runtime.get("supportedModelFormats") or ()
    return any(one.get("autoSelect") is True for one in formats)


def _format_mismatch(supported: Mapping[str, Any], model: Mapping[str, Any]) -> str | None:
    """The kind of thing in which the two differ. What only one of them names is a difference."""
    for key, word in _NAMES:
        if supported.get(key) != model.get(key):
            return f"{word} ({supported.get(key) or 'none'})"
    for key, word in _VERSIONED:
        mine, its = supported.get(key), model.get(key)
        if not mine or not its:
            if mine or its or key == "modelFormat":
                return f"{word} ({(mine or {}).get('name', 'none')})"
        elif mine["name"] != its["name"] or not _versions_match(mine, its, strict=True):
            return f"{word} ({mine['name']} {mine.get('version') or ''})".replace(" )", ")")
    return None


def _format_score(supported: Mapping[str, Any], model: Mapping[str, Any]) -> int:
    if supported.get("autoSelect") is False:
        return 0
    total = 0
    for (key, _), default in zip(_VERSIONED, (_FORMAT_WEIGHT, _FRAMEWORK_WEIGHT), strict=True):
        mine, its = supported.get(key), model.get(key)
        if bool(mine) != bool(its):
            return 0
        if mine and its:
            if mine["name"] != its["name"] or not _versions_match(mine, its, strict=False):
                return 0
            total += mine.get("weight", 1) or default
    return total * int(supported.get("priority") or 1)


def _size_mismatch(bounds: Mapping[str, str], model: Mapping[str, Any]) -> str | None:
    size = model.get("modelParameterSize")
    if size is None or not bounds:
        return None
    low, high = bounds.get("min"), bounds.get("max")
    is_below = low is not None and _parameters(size) < _parameters(low)
    is_above = high is not None and _parameters(size) > _parameters(high)
    if not is_below and not is_above:
        return None
    return f"is for models of {low or 'any size'} to {high or 'any size'}, and this one has {size}"


def _versions_match(
    supported: Mapping[str, Any], model: Mapping[str, Any], *, strict: bool
) -> bool:
    """`strict`: a version that only one of them has is a difference."""
    mine, its = supported.get("version"), model.get("version")
    if mine is None or its is None:
        return (mine is None and its is None) or not strict
    runs, has = _version(str(mine)), _version(str(its))
    if runs is None or has is None:
        return False
    operator = supported.get("operator") or "Equal"
    if runs.extra or has.extra or operator == "Equal":
        return (runs.numbers, runs.extra) == (has.numbers, has.extra)
    if (runs.precision, runs.prefix) != (has.precision, has.prefix):
        return False
    # OME compares the runtime's version with the model's, in this order.
    if operator == "GreaterThan":
        return runs.numbers > has.numbers
    return operator == "GreaterThanOrEqual" and runs.numbers >= has.numbers


def _version(text: str) -> _Version | None:
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    parts = [found["major"], found["minor"], found["patch"]]
    if any(len(part) > 1 and part.startswith("0") for part in parts if part):
        return None
    major, minor, patch = (int(part or 0) for part in parts)
    extra = tuple(f"{name}:{found[name]}" for name in ("pre", "build", "dev") if found[name])
    precision = sum(part is not None for part in parts)
    return _Version((major, minor, patch), extra, precision, found["prefix"])


def _parameters(size: str) -> float:
    """`3.21B` as a count. OME takes for 0 what it can't read, such as a small `b`."""
    unit = _SIZE_UNITS.get(size[-1:], 1)
    try:
        return float(size.rstrip("TBM") if unit > 1 else size) * unit
    except ValueError:
        return 0.0
