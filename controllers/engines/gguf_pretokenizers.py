r"""How byte-level BPE tokenizers cut text into pieces before merging, by llama.cpp's names.

The names are values of `tokenizer.ggml.pre`, the patterns those of llama.cpp's llama-vocab.cpp:
each is applied to the pieces that the one before left over, and what it does not match is a piece
too. That is why a last alternative `\s+` may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PreTokenizer:
    """`patterns` cut one after the other.

    With `ignore_merges`, a piece that is a token as a whole is never built from merges. `add_bos`
    holds where the GGUF file itself does not say whether a text begins with the BOS token.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False


_CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_UPPER_LOWER = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
)


def _any(*alternatives: str) -> str:
    return "|".join(alternatives)


_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")
_SINGLE_DIGITS = (r"\p{N}", _GPT2)
_LLAMA3 = (_any(_CONTRACTIONS, _LETTERS, r"\p{N}{1,3}", _OTHERS, _SPACES),)
_QWEN2 = (_any(_CONTRACTIONS, _LETTERS, r"\p{N}", _OTHERS, _SPACES),)
_QWEN35 = (
    _any(
        _CONTRACTIONS,
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        _SPACES,
    ),
)
_GPT4O = (
    _any(
        *(f"{word}{_CONTRACTIONS}?" for word in _UPPER_LOWER),
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        _SPACES,
    ),
)
_TEKKEN = (_any(*_UPPER_LOWER, r"\p{N}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", _SPACES),)

_BY_NAME: dict[str, PreTokenizer] = {
    **dict.fromkeys(("default",), PreTokenizer(_DEFAULT)),
    **dict.fromkeys(
        ("gpt-2", "phi-2", "mpt", "olmo", "jina-es", "jina-de", "jais", "exaone4"),
        PreTokenizer((_GPT2,)),
    ),
    **dict.fromkeys(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
        PreTokenizer(_SINGLE_DIGITS),
    ),
    **dict.fromkeys(
        ("llama3", "llama-v3", "llama-bpe", "falcon3"),
        PreTokenizer(_LLAMA3, ignore_merges=True, add_bos=True),
    ),
    **dict.fromkeys(("dbrx", "smaug-bpe"), PreTokenizer(_LLAMA3)),
    **dict.fromkeys(
        ("qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan"), PreTokenizer(_QWEN2)
    ),
    "qwen35": PreTokenizer(_QWEN35),
    "gpt-4o": PreTokenizer(_GPT4O),
    "tekken": PreTokenizer(_TEKKEN, ignore_merges=True, add_bos=True),
}  # fmt: skip


def pre_tokenizer(name: str) -> PreTokenizer | None:
    """The rules that llama.cpp calls `name`, or None when they are not known here."""
    return _BY_NAME.get(name)
