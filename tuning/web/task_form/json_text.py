"""A task document as people write JSON: lists of plain values on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_INDENT = "  "
_LONGEST_LINE = 88


def json_text(value: Any, indent: str = "") -> str:
    """The text that reads back as `value`. Short lists and objects without inner ones take a line.

    Keys that were written twice are written once: ask for problems first.
    """
    if not isinstance(value, Mapping | list | tuple) or not value:
        return json.dumps(value, ensure_ascii=False)
    if not any(isinstance(item, Mapping | list | tuple) for item in _items(value)):
        line = json.dumps(value, ensure_ascii=False)
        if len(indent) + len(line) <= _LONGEST_LINE:
            return line
    inner = indent + _INDENT
    if isinstance(value, Mapping):
        parts = [
            f"{json.dumps(key, ensure_ascii=False)}: {json_text(item, inner)}"
            for key, item in value.items()
        ]
        opening, closing = "{", "}"
    else:
        parts = [json_text(item, inner) for item in value]
        opening, closing = "[", "]"
    listed = ",\n".join(inner + part for part in parts)
    return f"{opening}\n{listed}\n{indent}{closing}"


def _items(value: Any) -> Any:
    return value.values() if isinstance(value, Mapping) else value
