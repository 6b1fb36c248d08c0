"""How alike two models are, as far as their names tell.

A model is known to a task by a path, a hub id, or a name of the cluster. Such a name mostly tells
series (llama), generation (3.1), size and quantisation: `Llama-3.1-8B-Instruct-AWQ`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

OTHER_GENERATION = 0.85
OTHER_SERIES = 0.6
OTHER_QUANTISATION = 0.85
TWICE_THE_SIZE = 0.85
"""For each doubling of the number of parameters."""
UNKNOWN_SIZE = 0.8

_FILE_ENDINGS = (".gguf", ".safetensors")
_QUANTISATION = re.compile(
    r"(?<![a-z0-9])(i?q\d(?:_[a-z0-9]+)*|awq|gptq|nvfp4|mxfp4|fp8|fp16|bf16|f16|f32|int[48]|[48]bit"
    r"|w\d+a\d+)(?![a-z0-9])"
)
_EXPERTS = re.compile(r"(?<![a-z0-9])(\d+)x(\d+(?:\.\d+)?)b(?![a-z0-9])")
_SIZE = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")
_ACTIVE = re.compile(r"(?<![a-z0-9])a\d+(?:\.\d+)?b(?![a-z0-9])")
_NO_FAMILY = frozenset({"instruct", "chat", "it", "base", "hf", "meta", "gguf", "preview"})
"""Words that change what a model says, or who made it, and not how it is computed."""


@dataclass(frozen=True)
class ModelName:
    """What a name tells. `words` are series and generation in the order of the name, `billions`
    the number of parameters, None where the name does not say."""

    words: tuple[str, ...]
    billions: float | None
    quantisation: str | None

    @classmethod
    def of(cls, written: str) -> Self:
        name = PurePosixPath(written.strip().rstrip("/")).name.lower()
        for ending in _FILE_ENDINGS:
            name = name.removesuffix(ending)
        quantisation = _QUANTISATION.search(name)
        rest = _QUANTISATION.sub(" ", name)
        billions = _billions(rest)
        for pattern in (_EXPERTS, _ACTIVE, _SIZE):
            rest = pattern.sub(" ", rest)
        words = (word.strip(".") for word in re.split(r"[-_\s:]+", rest))
        return cls(
            tuple(word for word in words if word and word not in _NO_FAMILY),
            billions,
            quantisation[0] if quantisation else None,
        )

    @property
    def family(self) -> str:
        """Series and generation without what separates them: `llama32` of Llama-3.2 and of
        llama-3-2."""
        return re.sub(r"[^a-z0-9]", "", "".join(self.words))

    @property
    def series(self) -> str:
        """`llama` of Llama-3.1 and `qwen` of Qwen2.5; empty where the name starts otherwise."""
        letters = re.match(r"[a-z]+", self.words[0]) if self.words else None
        return letters[0] if letters else ""


def model_similarity(left: str, right: str) -> float:
    """From 0 (exclusive) to 1, where names tell nothing apart."""
    if left == right:
        return 1.0
    one, other = ModelName.of(left), ModelName.of(right)
    similarity = _family_similarity(one, other)
    if one.billions and other.billions:
        similarity *= TWICE_THE_SIZE ** abs(math.log2(one.billions / other.billions))
    elif one.billions or other.billions or one.family != other.family:
        similarity *= UNKNOWN_SIZE
    return similarity * (OTHER_QUANTISATION if one.quantisation != other.quantisation else 1.0)


def _family_similarity(one: ModelName, other: ModelName) -> float:
    if one.family and one.family == other.family:
        return 1.0
    return OTHER_GENERATION if one.series and one.series == other.series else OTHER_SERIES


def _billions(name: str) -> float | None:
    """`8x7b` has 56, `30b-a3b` has 30, `135m` has 0.135."""
    if experts := _EXPERTS.search(name):
        return int(experts[1]) * float(experts[2]) or None
    size = _SIZE.search(_ACTIVE.sub(" ", name))
    if size is None:
        return None
    return float(size[1]) * (1.0 if size[2] == "b" else 1e-3) or None
