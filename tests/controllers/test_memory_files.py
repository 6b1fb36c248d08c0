"""What the memory estimate reads of a model on this host: config.json, indexes, GGUF headers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from controllers.engines.memory import model_config, weights_size


def test_a_model_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "consolidated.safetensors").write_bytes(b"x" * 50)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x" * 30)
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"x" * 20)

    assert model_config(tmp_path) == {"model_type": "llama"}
    assert weights_size(tmp_path) == 50

    index = {"metadata": {"total_size": 48}, "weight_map": {}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert weights_size(tmp_path) == 48


@pytest.mark.parametrize("text", [None, "", "[]", "{", "\x00", "[" * 5000])
def test_a_directory_without_a_readable_configuration(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text, encoding="utf-8")

    assert model_config(tmp_path) is None
    assert weights_size(tmp_path) is None
    assert model_config(tmp_path / "none") is None


def text_field(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_file(path: Path, **sizes: int | list[int]) -> Path:
    """A GGUF file's header with these keys of the architecture llama, and a vocabulary of 3."""
    pairs = [text_field("general.architecture") + struct.pack("<I", 8) + text_field("llama")]
    for name, value in sizes.items():
        key = text_field(f"llama.{name.replace('__', '.')}")
        if isinstance(value, list):
            items = struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)
            pairs.append(key + items)
        else:
            pairs.append(key + struct.pack("<II", 4, value))
    tokens = b"".join(text_field(token) for token in ("a", "bc", "d"))
    pairs.append(text_field("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + tokens)
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    path.write_bytes(header + b"".join(pairs))
    return path


def test_the_header_of_a_gguf_file_is_read(tmp_path: Path) -> None:
    path = gguf_file(
        tmp_path / "m.gguf",
        block_count=30,
        embedding_length=576,
        attention__head_count=9,
        attention__head_count_kv=[3, 3, 1],
        context_length=8192,
    )

    expected = {
        "model_type": "llama",
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "vocab_size": 3,
    }
    assert model_config(path) == expected
    assert model_config(tmp_path) == expected
    assert weights_size(tmp_path) == path.stat().st_size


def test_a_gguf_file_that_ends_too_soon(tmp_path: Path) -> None:
    whole = gguf_file(tmp_path / "m.gguf", block_count=30).read_bytes()
    for length in range(whole.index(b"tokenizer")):
        (tmp_path / "m.gguf").write_bytes(whole[:length])
        assert model_config(tmp_path / "m.gguf") is None


def test_the_parts_of_a_split_gguf_file_are_added_up(tmp_path: Path) -> None:
    for part in (1, 2, 3):
        gguf_file(tmp_path / f"m-0000{part}-of-00003.gguf", block_count=part)
    size = (tmp_path / "m-00001-of-00003.gguf").stat().st_size

    assert weights_size(tmp_path) == 3 * size
    assert weights_size(tmp_path / "m-00002-of-00003.gguf") == 3 * size
    shape = model_config(tmp_path)
    assert shape is not None
    assert shape["num_hidden_layers"] == 1

    gguf_file(tmp_path / "other.gguf")
    assert model_config(tmp_path) is None
    assert weights_size(tmp_path) is None
