"""From the text of a task file to plain values, with nothing in them that would hurt later."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tuning.domain.spec_errors import InvalidTask, Location, Problem, shown

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
_LARGEST_INTEGER = 2**63 - 1
_LONGEST_INTEGER = 1_000


class WrittenObject(dict[str, Any]):
    """A JSON object that remembers which of its keys were written twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs)
        self.repeated_keys = [key for key, count in counts.items() if count > 1]


def load_document(document: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    """The task file's top level, as plain values that are not checked yet.

    Raises:
        InvalidTask: the text is not one JSON object; a syntax error has its line and column.
    """
    value = _parse(document) if isinstance(document, str | bytes) else document
    if isinstance(value, dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise InvalidTask([Problem((), "A task file is one JSON object, in braces", shown(value))])


def read_document(document: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    """A task file as plain values, for callers that change some of them before `parse_task`.

    Raises:
        InvalidTask: as `load_document` does, and for all `unusable_values`.
    """
    values = load_document(document)
    problems = unusable_values(values)
    if problems:
        raise InvalidTask(problems)
    return values


def unusable_values(document: Mapping[str, Any]) -> list[Problem]:
    """What no field may hold, wherever it stands.

    That is a key written twice, NaN and infinity, a whole number beyond 64 bits, a character that
    neither a database nor a command line takes, and what is not JSON at all.

    Raises:
        InvalidTask: the document can't be walked: it is nested too deeply, or has keys that are
            no texts.
    """
    return list(_unusable(document, ()))


def _parse(document: str | bytes) -> Any:
    if len(document) > MAX_BYTES:
        raise InvalidTask([Problem((), f"The file is larger than {MAX_BYTES:,} bytes")])
    try:
        text = document.decode("utf-8-sig") if isinstance(document, bytes) else document
        return json.loads(text, object_pairs_hook=WrittenObject, parse_int=whole_number)
    except UnicodeDecodeError as error:
        raise InvalidTask([Problem((), f"The file is not UTF-8 (byte {error.start})")]) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidTask([Problem((), f"The file is not JSON: {error.msg} at {place}")]) from None
    except RecursionError:
        raise InvalidTask([_too_deep()]) from None


def whole_number(digits: str) -> int | float:
    """Python refuses to read very long integers; as infinity they are reported with their place."""
    return int(digits) if len(digits) < _LONGEST_INTEGER else math.inf


def _too_deep() -> Problem:
    return Problem((), "The file has lists or objects nested too deeply")


def _unusable(value: object, location: Location) -> Iterator[Problem]:
    if len(location) > MAX_DEPTH:
        raise InvalidTask([_too_deep()])
    match value:
        case Mapping():
            yield from _unusable_object(value, location)
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _unusable(item, (*location, index))
        case _:
            fault = _fault(value)
            if fault is not None:
                yield Problem(location, fault, shown(value))


def _fault(value: object) -> str | None:
    match value:
        case bool() | None:
            return None
        case str():
            return None if _is_storable(value) else "holds a character that can't be stored"
        case int():
            fits = abs(value) <= _LARGEST_INTEGER
            return None if fits else "must be a whole number of at most 64 bits"
        case float():
            return None if math.isfinite(value) else "must be a finite number"
        case _:
            return "is no value that JSON has"


def _is_storable(text: str) -> bool:
    """False for NUL, which ends a text in C, and for halves of a UTF-16 pair."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def _unusable_object(value: Mapping[Any, Any], location: Location) -> Iterator[Problem]:
    for key in getattr(value, "repeated_keys", ()):
        yield Problem((*location, key), "is written twice; keep one")
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidTask([Problem(location, "has a key that is not a text", shown(key))])
        yield from _unusable(key, location)
        yield from _unusable(item, (*location, key))
