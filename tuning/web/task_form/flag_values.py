"""The values of a flag as one line of text.

`1, 2, 4` is a list, `8` a fixed value, `1..64`, `1..64 step 8` and `0.1..0.9 step 0.05 log` are
ranges. `true` and `false` are switches, digits are whole numbers, digits with a point or an
exponent are numbers, and all else is text. Quotes as in JSON make anything a text. A list in
brackets is read as JSON, so that a list can be pasted; a text in braces is taken as it is, since
some flags want JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tuning.domain.names import FlagValue
from tuning.domain.spec_document import WrittenObject, whole_number

_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?")
# None of these may try a long text in more than one way: what is typed can be a megabyte.
_NUMBER = r"-?(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_RANGE = re.compile(
    rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s+step\s+({_NUMBER}))?(\s+log)?", re.IGNORECASE
)
_RANGE_BEGUN = re.compile(rf"{_NUMBER}\s*\.\.")
_ITEM = re.compile(r'\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")\s*(?=,|$)|(?P<bare>[^,]*))(?:,|$)')

_SWITCHES = {"true": True, "false": False}


class UnreadableText(ValueError):
    """What was typed can't be read. The text is for the user."""


def read_values(text: str) -> Any:
    """What the text declares, as it stands in a task file: a value, a list, or a range.

    Nothing typed gives an empty list, which the task file's rules refuse.

    Raises:
        UnreadableText: for quotes that don't close, and ranges that are none.
    """
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        return read_json(text)
    if text.startswith("{") and text.endswith("}"):
        return text
    if match := _RANGE.fullmatch(text):
        return _range(*match.groups())
    items = _items(text)
    if len(items) == 1 and not text.endswith(","):
        return items[0]
    return items


def write_values(declared: Any) -> str:
    """The text that `read_values` reads as `declared`; '' for what no text can say."""
    match declared:
        case list() | tuple() if not any(isinstance(item, list | dict) for item in declared):
            items = [item for item in declared if isinstance(item, bool | int | float | str)]
            text = ", ".join(_write_scalar(item) for item in items)
            return f"{text}," if len(items) == 1 else text
        case Mapping():
            return _write_range(declared)
        case bool() | int() | float() | str():
            return _write_scalar(declared)
        case _:
            return ""


def read_scalar(text: str) -> FlagValue:
    """One value without quotes: a switch, a number, else the text itself."""
    if text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    if _WHOLE.fullmatch(text):
        return whole_number(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def read_json(text: str) -> Any:
    """Raises UnreadableText with line and column; keys written twice are left to the task file's
    rules."""
    try:
        return json.loads(text, object_pairs_hook=WrittenObject, parse_int=whole_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise UnreadableText(f"is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise UnreadableText("has lists or objects nested too deeply") from None


def _items(text: str) -> list[FlagValue]:
    items: list[FlagValue] = []
    position = 0
    while position < len(text):
        match = _ITEM.match(text, position)
        assert match is not None  # The bare alternative matches anything up to a comma.
        items.append(_item(match))
        position = match.end()
    return items


def _item(match: re.Match[str]) -> FlagValue:
    if match["quoted"] is not None:
        try:
            return str(json.loads(match["quoted"]))
        except json.JSONDecodeError:
            raise UnreadableText(f"has a text that JSON does not read: {match['quoted']}") from None
    bare = match["bare"].strip()
    if not bare:
        raise UnreadableText("has nothing between two commas")
    if bare.startswith('"'):
        raise UnreadableText(f"has a quote that is not closed: {bare}")
    if _RANGE_BEGUN.match(bare):
        raise UnreadableText(
            f"has a range that can't be read: {bare}; write 1..64, 1..64 step 8 or 0.1..0.9 log, "
            "and nothing beside it"
        )
    return read_scalar(bare)


def _range(low: str, high: str, step: str | None, log: str | None) -> dict[str, Any]:
    numbers = [read_scalar(_tidied(part)) for part in (low, high, *([step] if step else []))]
    is_whole = all(isinstance(number, int) for number in numbers)
    if not is_whole:
        numbers = [float(number) for number in numbers]
    written: dict[str, Any] = {"type": "int" if is_whole else "float"}
    written |= dict(zip(("low", "high", "step"), numbers, strict=False))
    return written | ({"log": True} if log else {})


def _tidied(number: str) -> str:
    """`007` is a text in a list, but in a range only a number makes sense."""
    return re.sub(r"^(-?)0+(?=[0-9])", r"\1", number)


def _write_range(declared: Mapping[str, Any]) -> str:
    kind = declared.get("type")
    if kind in ("choice", "choices", "categorical"):
        return write_values(declared.get("values"))
    is_float = kind in ("float", "continuous")
    given: list[Any] = [declared.get("low"), declared.get("high"), declared.get("step")]
    numbers = []
    for number in given if given[-1] is not None else given[:-1]:
        if isinstance(number, bool) or not isinstance(number, int | float if is_float else int):
            return ""
        numbers.append(repr(float(number) if is_float else number))
    low, high, *step = numbers
    log = " log" if declared.get("log") is True else ""
    return f"{low}..{high}" + "".join(f" step {number}" for number in step) + log


def _write_scalar(value: FlagValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    """Whether the text means itself, alone and in a list."""
    if not text.isprintable() or text != text.strip() or any(sign in text for sign in ',"[]{}'):
        return False
    try:
        return read_values(text) == text and isinstance(read_values(text), str)
    except UnreadableText:
        return False
