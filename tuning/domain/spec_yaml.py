"""Task files in YAML, read so that a text means the same to every reader of YAML.

YAML 1.1 and 1.2 disagree about words such as `on`, `1e3` and `0o17`, and both know values that
JSON does not have. Here all of those are refused, each with its path: quotes make them texts.
Anchors are refused too, since a few lines of them can stand for more than any memory holds.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

from tuning.domain.spec_document import (
    MAX_BYTES,
    MAX_DEPTH,
    WrittenObject,
    load_document,
    read_document,
    whole_number,
)
from tuning.domain.spec_errors import InvalidTask, Location, Problem, shown

# libyaml's parser where PyYAML was built with it: 20 times faster, the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Untyped in the stubs.
_RESOLVER: Any = yaml.resolver.Resolver()

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")
_NUMBER_IN_1_2 = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+|0o[0-7]+")
_SWITCHES = {"true": True, "false": False}
_TAG = "tag:yaml.org,2002:"


def read_task_text(document: str | bytes) -> dict[str, Any]:
    """A task file in JSON or YAML, whichever it is, as plain values for `parse_task`.

    Raises:
        InvalidTask: it can't be read; a syntax error has its line and column.
    """
    text = _decoded(document)
    return read_document(text) if text.lstrip().startswith("{") else read_yaml(text)


def read_yaml(document: str | bytes) -> dict[str, Any]:
    """A task file in YAML as plain values. A key written twice is left for `parse_task` to tell.

    Raises:
        InvalidTask: it can't be read, or has values that JSON has not.
    """
    text = _decoded(document)
    try:
        events = yaml.parse(text, Loader=_LOADER)
        reader = _Reader(events)
        value = reader.read()
    except yaml.MarkedYAMLError as error:
        raise InvalidTask([Problem((), _syntax_error(error))]) from None
    except yaml.YAMLError as error:
        raise InvalidTask([Problem((), f"The file is not YAML: {error}")]) from None
    if reader.problems:
        raise InvalidTask(reader.problems)
    if not isinstance(value, dict):
        message = "A task file has keys and values at its top level"
        raise InvalidTask([Problem((), message, shown(value))])
    return load_document(value)


def _decoded(document: str | bytes) -> str:
    if len(document) > MAX_BYTES:
        raise InvalidTask([Problem((), f"The file is larger than {MAX_BYTES:,} bytes")])
    if isinstance(document, str):
        return document.removeprefix("\N{BYTE ORDER MARK}")
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTask([Problem((), f"The file is not UTF-8 (byte {error.start})")]) from None


def _syntax_error(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"The file is not YAML: {error.problem or error.context}{place}"


class _Reader:
    """Builds values from the parser's events, so that nothing is built before it is checked."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self.problems: list[Problem] = []

    def read(self) -> Any:
        value: Any = None
        documents = 0
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            documents += 1
            if documents > 1:
                raise InvalidTask([Problem((), "The file has several documents; keep one")])
            value = self._value(next(self._events), ())
        return value

    def _value(self, event: Any, location: Location) -> Any:
        if len(location) > MAX_DEPTH:
            raise InvalidTask([Problem((), "The file has lists or objects nested too deeply")])
        if isinstance(event, yaml.AliasEvent):
            self._refuse(location, "is an alias; write its value out", f"*{event.anchor}")
            return None
        if event.anchor is not None:
            self._refuse(location, "has an anchor; leave it out", f"&{event.anchor}")
        if isinstance(event, yaml.MappingStartEvent):
            self._check_tag(event, "map", location)
            return self._mapping(location)
        if isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(event, "seq", location)
            return self._sequence(location)
        return self._scalar(event, location)

    def _mapping(self, location: Location) -> WrittenObject:
        pairs = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, location)
            if not isinstance(key, str):
                # What follows can't be placed, so it is read and dropped.
                self._refuse(location, "has a key that is not a text", key)
                key = shown(key)
            pairs.append((key, self._value(next(self._events), (*location, key))))
        return WrittenObject(pairs)

    def _sequence(self, location: Location) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*location, len(items))))
        return items

    def _scalar(self, event: Any, location: Location) -> Hashable:
        text: str = event.value
        if event.tag is None or event.tag == "!":
            tag = _RESOLVER.resolve(yaml.ScalarNode, text, event.implicit)
        else:
            self._check_tag(event, "str", location)
            tag = f"{_TAG}str"
        is_plain = not event.style and bool(event.implicit[0])
        try:
            return _plain_value(tag, text, is_plain=is_plain)
        except ValueError as error:
            self._refuse(location, str(error), text)
            return None

    def _check_tag(self, event: Any, kind: str, location: Location) -> None:
        if event.tag not in (None, "!", f"{_TAG}{kind}"):
            self._refuse(location, "has a tag; only what JSON has can be read", event.tag)

    def _refuse(self, location: Location, message: str, found: object) -> None:
        self.problems.append(Problem(location, message, shown(found)))


def _plain_value(tag: str, text: str, *, is_plain: bool) -> Hashable:
    """Raises ValueError, saying what to do, for what is read in two ways or is no JSON."""
    kind = tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "merge":
        raise ValueError("merges another object in; write its keys out")
    if kind == "timestamp":
        raise ValueError("is a date, which JSON has not; put it in quotes")
    if kind == "bool" and text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    if kind == "int" and _WHOLE.fullmatch(text):
        return whole_number(text)
    if kind == "float" and _DECIMAL.fullmatch(text):
        return float(text.lower().replace(".inf", "inf"))
    if kind == "float" and _NOT_A_NUMBER.fullmatch(text):
        return float("nan")
    if kind == "str" and not (is_plain and _NUMBER_IN_1_2.fullmatch(text)):
        return text
    if kind == "bool":
        raise ValueError(
            "is true or false to some readers of YAML and a text to others; write "
            "true or false, or put it in quotes"
        )
    raise ValueError(
        "is read in several ways; write a decimal number such as 1000 or 0.001, or put it in quotes"
    )
