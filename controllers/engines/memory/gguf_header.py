"""A model's sizes out of the header of its GGUF file, under the names config.json uses.

Source: "GGUF", the specification of the file format in the ggml project. Reading it here takes
milliseconds; `gguf.GGUFReader` builds an object for each of 100,000 tokens, which takes seconds.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from controllers.engines.model_files import GGUF_MAGIC

MAX_PAIRS = 10_000
MAX_TEXT_BYTES = 64 * 1024 * 1024
MAX_KEPT_ITEMS = 4096
"""Longer lists are skipped and only counted: vocabularies, never one value for each layer."""

_STRING, _ARRAY = 8, 9
_FORMATS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}

# Keys of the specification, after the architecture's name.
_NAMES = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.kv_lora_rank": "kv_lora_rank",
    "rope.dimension_count": "qk_rope_head_dim",
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": "sliding_window_pattern",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
}
_FAMILIES = {"gpt-oss": "gpt_oss", "llama4": "llama4_text"}
"""Architectures whose name in config.json is another one, as far as windows depend on it."""
_TOKENS = "tokenizer.ggml.tokens"


def gguf_config(path: Path) -> dict[str, Any] | None:
    """The sizes of the model in `path`; None where it is no GGUF file that can be read."""
    try:
        with path.open("rb") as file:
            metadata = _metadata(file)
    except (OSError, ValueError, OverflowError, struct.error):
        return None
    architecture = metadata.get("general.architecture")
    config = {
        name: _largest(metadata[f"{architecture}.{key}"])
        for key, name in _NAMES.items()
        if f"{architecture}.{key}" in metadata
    }
    if _TOKENS in metadata:
        config.setdefault("vocab_size", metadata[_TOKENS])
    return {"model_type": _FAMILIES.get(str(architecture), architecture), **config}


def _largest(value: Any) -> Any:
    """One value for all layers, where a file has one for each."""
    return max(value) if isinstance(value, list) and value else value


def _metadata(file: BinaryIO) -> dict[str, Any]:
    """The key-value pairs at the beginning of a file; of long lists only the length.

    Raises:
        ValueError: the file is not in this format.
        struct.error: it ends too soon.
    """
    if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
        raise ValueError("no GGUF file")
    _, _, pairs = struct.unpack("<IQQ", file.read(20))
    if pairs > MAX_PAIRS:
        raise ValueError(f"{pairs} pairs")
    found: dict[str, Any] = {}
    for _ in range(pairs):
        key = _text(file)
        found[key] = _value(file, _number(file, "I"))
    return found


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        return _items(file)
    if kind not in _FORMATS:
        raise ValueError(f"value of kind {kind}")
    return _number(file, _FORMATS[kind])


def _items(file: BinaryIO) -> Any:
    """A short list of numbers, else the number of items."""
    kind, count = _number(file, "I"), _number(file, "Q")
    if kind == _STRING:
        for _ in range(count):
            file.seek(_length(file), 1)
    elif kind in _FORMATS:
        size = struct.calcsize(f"<{_FORMATS[kind]}")
        if count <= MAX_KEPT_ITEMS:
            return list(struct.unpack(f"<{count}{_FORMATS[kind]}", file.read(count * size)))
        file.seek(count * size, 1)
    else:
        raise ValueError(f"list of kind {kind}")
    return count


def _text(file: BinaryIO) -> str:
    return file.read(_length(file)).decode("utf-8", errors="replace")


def _length(file: BinaryIO) -> int:
    length: int = _number(file, "Q")
    if length > MAX_TEXT_BYTES:
        raise ValueError(f"text of {length} bytes")
    return length


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]
