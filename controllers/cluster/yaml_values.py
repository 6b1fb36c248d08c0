"""Values as YAML that every parser reads alike: PyYAML (YAML 1.1), kubectl's and OME's (1.2).

Text goes in double quotes unless it can't be taken for anything else; what is not printable is
escaped. Sources: YAML 1.2.2, 5.7 "Escaped Characters" and 7.3.1 "Double-Quoted Style"; YAML 1.1's
types of plain text (yaml.org/type).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

LARGEST_INT = 2**63 - 1
"""Kubernetes keeps whole numbers in 64 bits."""

_CERTAINLY_TEXT = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.@-]+")
_OTHER_MEANINGS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "nan", "inf"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_INDENT = "  "


class UnrenderableValue(ValueError):
    """A value that Kubernetes would not take, or not as it is. The text names field and value."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field


def plain_value(value: object, field: str) -> Any:
    """`value` as JSON has it: no tuples, no enums, no mappings but dicts.

    Raises:
        UnrenderableValue: something in it has no place in a Kubernetes object.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, field)
    if isinstance(value, int):
        if abs(value) > LARGEST_INT:
            raise UnrenderableValue(field, f"{value} does not fit into 64 bits.")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnrenderableValue(field, f"{value} is no number that JSON knows.")
        return value
    if isinstance(value, Mapping):
        return {
            _key(key, field): plain_value(item, f"{field}.{key}") for key, item in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain_value(item, f"{field}[{place}]") for place, item in enumerate(value)]
    raise UnrenderableValue(field, f"{value!r} is a {type(value).__name__}, which YAML has not.")


def scalar(value: object) -> str:
    """One plain value on one line; lists and mappings in brackets."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _number(value)
        case str():
            return quoted(value)
        case Mapping():
            return "{" + ", ".join(f"{scalar(k)}: {scalar(v)}" for k, v in value.items()) + "}"
        case Sequence():
            return "[" + ", ".join(scalar(item) for item in value) + "]"
    raise TypeError(f"{value!r} is no plain value")


def quoted(text: str) -> str:
    if _CERTAINLY_TEXT.fullmatch(text) and text.lower() not in _OTHER_MEANINGS:
        return text
    return '"' + "".join(_escaped(letter) for letter in text) + '"'


def block(value: object, indent: int) -> str:
    """What follows `key:`, where the key's children are indented by `indent` spaces."""
    if not value or not isinstance(value, Mapping | list | tuple):
        return " " + scalar(value)
    return "\n" + "\n".join(" " * indent + line for line in _lines(value))


def _lines(value: Mapping[str, Any] | Sequence[Any]) -> list[str]:
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            lines += _entry(f"{scalar(key)}:", item)
        return lines
    for item in value:
        first, *rest = _lines(item) if _is_nested(item) else [scalar(item)]
        lines += [f"- {first}", *(_INDENT + line for line in rest)]
    return lines


def _entry(head: str, item: object) -> list[str]:
    if isinstance(item, Mapping | list | tuple) and item:
        return [head, *(_INDENT + line for line in _lines(item))]
    return [f"{head} {scalar(item)}"]


def _is_nested(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple) and bool(value)


def _text(value: str, field: str) -> str:
    if "\0" in value:
        raise UnrenderableValue(field, f"{value[:80]!r} has a null character, which ends a text.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        why = f"{value[:80]!r} has half of a character (a surrogate) at place {error.start}."
        raise UnrenderableValue(field, why) from error
    return str(value)


def _key(key: object, field: str) -> str:
    if not isinstance(key, str):
        raise UnrenderableValue(field, f"the key {key!r} must be a text.")
    return _text(key, f"{field} (a key)")


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    code = ord(letter)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _number(value: float) -> str:
    """YAML 1.1 takes `1e+16` for text: it wants a point in a number."""
    mantissa, exponent, power = repr(value).partition("e")
    return mantissa + ("" if "." in mantissa or not exponent else ".0") + exponent + power
