"""What lies on this host of a model: its configuration and the size of its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from controllers.engines.memory.gguf_header import gguf_config

MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_INDEX_BYTES = 64 * 1024 * 1024
"""Larger ones are nothing that belongs to a model; indexes list each tensor by name."""

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_WEIGHTS = ("model*.safetensors", "*.safetensors", "pytorch_model*.bin")
"""In order of preference: a directory may hold the same weights in several formats."""
_SPLIT = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")


def model_config(model: Path) -> dict[str, Any] | None:
    """The config.json in the directory `model`, or the same facts out of a GGUF file.

    None where there is none that can be read. Nothing is ever downloaded.
    """
    gguf = _gguf_file(model)
    if gguf is not None:
        return gguf_config(gguf)
    return _json_object(model / "config.json", MAX_CONFIG_BYTES)


def weights_size(model: Path) -> int | None:
    """Bytes of weights in the directory or GGUF file `model`; None where there are none.

    An index of shards knows best; without one, the files' sizes are added up.
    """
    try:
        gguf = _gguf_file(model)
        if gguf is not None:
            return _added(_parts(gguf))
        return _indexed(model) or next(filter(None, _each_format(model)), None)
    except OSError:
        return None


def _gguf_file(model: Path) -> Path | None:
    """`model` if it is a GGUF file, or the only one (all its parts) in a directory of GGUF."""
    if model.is_file():
        return model if model.suffix.lower() == ".gguf" else None
    if (model / "config.json").exists() or not model.is_dir():
        return None
    found = sorted(path for path in model.iterdir() if path.suffix.lower() == ".gguf")
    return found[0] if len({_parts(path) for path in found}) == 1 else None


def _parts(gguf: Path) -> tuple[Path, ...]:
    """All files of a model that is split over several, else `gguf` alone."""
    name = _SPLIT.fullmatch(gguf.name)
    if name is None:
        return (gguf,)
    return tuple(sorted(gguf.parent.glob(f"{name[1]}-?????-of-{name[2]}.gguf")))


def _indexed(model: Path) -> int | None:
    for name in _INDEXES:
        index = _json_object(model / name, MAX_INDEX_BYTES)
        metadata = index.get("metadata") if index else None
        size = metadata.get("total_size") if isinstance(metadata, dict) else None
        if isinstance(size, int | float) and size > 0:
            return int(size)
    return None


def _each_format(model: Path) -> Iterable[int | None]:
    return (_added(model.glob(pattern)) for pattern in _WEIGHTS)


def _added(paths: Iterable[Path]) -> int | None:
    return sum(path.stat().st_size for path in paths) or None


def _json_object(path: Path, most_bytes: int) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > most_bytes:
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
