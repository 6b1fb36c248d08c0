"""What is wrong with a task file, said so that its author can put it right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tuning.domain.spelling import suggestion

Location = tuple[str | int, ...]
"""The keys and list indices that lead to a place in the task file."""

_LONGEST_VALUE = 60


def shown(value: object) -> str:
    """A value as it would stand in the file, shortened to fit into a line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


@dataclass(frozen=True)
class Problem:
    """One thing to put right.

    `message` says what would be right. `value` is what stands there, as JSON and shortened; None
    when nothing does.
    """

    location: Location
    message: str
    value: str | None = None

    @property
    def path(self) -> str:
        """The place as people write it: `parameters.tp-size[1]`. Empty for the whole file."""
        parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.location)
        return "".join(parts).removeprefix(".")

    def below(self, *parents: str | int) -> Problem:
        """The same problem, seen from further up in the file."""
        return replace(self, location=(*parents, *self.location))

    def __str__(self) -> str:
        found = "" if self.value is None else f" (found {self.value})"
        return f"{self.path}: {self.message}{found}" if self.location else self.message + found


class InvalidTask(Exception):
    """Raised when a task file can't be used. `problems` has everything that is wrong with it.

    Not a ValueError, so that pydantic lets it through as it is.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"The task file has {count} problem{'s' if count != 1 else ''}:"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class InvalidSection(ValueError):
    """Raised inside a validator for several problems at once, located within its own field."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class Section(BaseModel):
    """A part of the task file: immutable, and without room for unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    older_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of older files that are read as one of the fields."""

    @classmethod
    def keys(cls) -> tuple[str, ...]:
        return (*cls.model_fields, *cls.older_keys)


def problems_of(error: ValidationError, model: type[Section]) -> Iterator[Problem]:
    """Pydantic's errors as problems, located relative to `model`."""
    for entry in error.errors(include_url=False):
        location: Location = entry["loc"]
        cause = entry.get("ctx", {}).get("error")
        if isinstance(cause, InvalidSection):
            yield from (problem.below(*location) for problem in cause.problems)
        elif entry["type"] == "missing":
            yield Problem(location, _missing(location, model))
        else:
            yield Problem(location, _message(entry, model), shown(entry["input"]))


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message for a key that has no meaning where it stands."""
    names = list(known)
    close = suggestion(key, names)
    return f"is not a known key{close or '; known here are ' + ', '.join(names)}"


def unknown_metric(name: str, known: Iterable[str]) -> str:
    """The message for a word that should have been a metric."""
    close = suggestion(name, known)
    return f"is not a metric{close or '; docs/TASK_FILE.md lists them all'}"


def not_a_number(value: object, noun: str) -> str:
    """The message for something that should have been `noun`, such as "a whole number"."""
    if isinstance(value, bool):
        return f"must be {noun}; true and false are none"
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9.]+\s*", value):
        return f"must be {noun}; leave out the quotes"
    return f"must be {noun}"


_MESSAGES: Mapping[str, str] = {
    "string_type": "must be a text in quotes",
    "string_unicode": "holds a character that can't be stored",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object, in braces",
    "model_type": "must be an object, in braces",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "value_error": "{error}",
}
"""What to say for pydantic's error types, which name the values to put in."""


def _message(entry: ErrorDetails, model: type[Section]) -> str:
    kind, context = entry["type"], entry.get("ctx", {})
    match kind:
        case "extra_forbidden":
            *parents, key = entry["loc"]
            section = _section_at(tuple(parents), model)
            if key in section.older_keys:
                return "is the older name of a key that stands here too; keep one of them"
            return unknown_key(str(key), section.keys())
        case "int_type":
            return not_a_number(entry["input"], "a whole number")
        case "float_type":
            return not_a_number(entry["input"], "a number")
        case "enum" | "literal_error":
            return _one_of(entry["input"], re.findall(r"'([^']*)'", context["expected"]))
        case _:
            return _MESSAGES[kind].format(**context)


def _one_of(value: object, allowed: list[str]) -> str:
    close = suggestion(value, allowed) if isinstance(value, str) else ""
    if len(allowed) == 1:
        return f'must be "{allowed[0]}"'
    return f"must be one of {', '.join(allowed)}{close}"


def _missing(location: Location, model: type[Section]) -> str:
    field: FieldInfo = _section_at(location[:-1], model).model_fields[str(location[-1])]
    return f"is missing: {field.description}"


def _section_at(location: Location, model: type[Section]) -> type[Section]:
    for key in location:
        annotation: Any = model.model_fields[str(key)].annotation
        model = annotation
    return model
