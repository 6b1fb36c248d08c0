"""Kubernetes objects from Jinja2 templates, in which every value comes out as it went in.

A template writes a value with one of two filters: `{{ name | value }}` for one on the same line,
and `key:{{ spec | block(4) }}` for a nested one below. What is printed without is an error. Each
object is rendered twice, with its values and with a mark in place of each; both are parsed, and the
marks replaced by the values have to give the same object. So no value can end up as another, or
become part of the object's structure.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Undefined,
    meta,
    pass_context,
)
from jinja2.runtime import Context

from controllers.cluster.object_rules import check_object
from controllers.cluster.yaml_values import UnrenderableValue, plain_value, scalar
from controllers.cluster.yaml_values import block as block_text

__all__ = ["Manifests", "UnfilteredValue", "UnrenderableValue"]

LARGEST_OBJECT = 1024 * 1024
"""Bytes. etcd takes 1.5 MiB a request, and the server adds fields of its own."""
_PRINTER = "_printer"


class UnfilteredValue(TypeError):
    """A template prints a value without `value` or `block`: a mistake of the template."""


class _Written(str):
    """Text that one of the filters made."""


class _Printer(Protocol):
    def value(self, value: object) -> str: ...

    def block(self, value: object, indent: int) -> str: ...


class _Values:
    """Prints values as YAML."""

    def value(self, value: object) -> str:
        return scalar(value)

    def block(self, value: object, indent: int) -> str:
        return block_text(value, indent)


class _Marks:
    """Prints a mark for each value and remembers which stands for which."""

    def __init__(self) -> None:
        self.meant: dict[str, object] = {}

    def value(self, value: object) -> str:
        mark = f"value-number-{len(self.meant)}-goes-here"
        self.meant[mark] = value
        return mark

    def block(self, value: object, indent: int) -> str:
        return " " + self.value(value)

    def replaced(self, document: Any) -> Any:
        if isinstance(document, dict):
            return {self.replaced(key): self.replaced(item) for key, item in document.items()}
        if isinstance(document, list):
            return [self.replaced(item) for item in document]
        return self.meant.get(document, document) if isinstance(document, str) else document


class Manifests:
    """The templates of a directory. May be used from several threads."""

    def __init__(self, templates_dir: Path) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(templates_dir),
            undefined=StrictUndefined,
            autoescape=False,
            finalize=_only_written,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        # Jinja2's own `namespace` and `dict` would stand in for a value that is missing.
        self._environment.globals.clear()
        self._environment.filters.update(value=_value_filter, block=_block_filter)

    def render(self, template: str, **values: object) -> dict[str, Any]:
        """The object that the template `NAME.yaml.j2` makes of `values`.

        Raises:
            UnrenderableValue: a value can't be in a Kubernetes object, or not as it is.
            UnfilteredValue, TypeError, jinja2.TemplateError: the template is wrong, or it is given
                other values than those that it uses.
        """
        return self._rendered(template, values)[1]

    def text(self, template: str, **values: object) -> str:
        """As `render`, and the YAML that was parsed: for people and for `kubectl apply -f`."""
        return self._rendered(template, values)[0]

    def _rendered(self, template: str, values: Mapping[str, object]) -> tuple[str, dict[str, Any]]:
        plain = {name: plain_value(value, name) for name, value in values.items()}
        self._check_names(template, plain)
        marks = _Marks()
        text = self._print(template, plain, _Values())
        document = _parsed(text)
        meant = marks.replaced(_parsed(self._print(template, plain, marks)))
        difference = _difference(meant, document, "")
        if difference is not None:
            raise UnrenderableValue(difference, "the value would not be read as it was written.")
        if not isinstance(document, dict):
            raise UnfilteredValue(f"{template} makes no object")
        if len(text.encode()) > LARGEST_OBJECT:
            size = f"{len(text.encode()):,} bytes"
            raise UnrenderableValue(template, f"{size} are too many for one Kubernetes object.")
        check_object(document)
        return text, document

    def _print(self, template: str, values: Mapping[str, object], printer: _Printer) -> str:
        found = self._environment.get_template(f"{template}.yaml.j2")
        return found.render({**values, _PRINTER: printer})

    def _check_names(self, template: str, values: Mapping[str, object]) -> None:
        """A misspelt value would be left out without a word."""
        loader = self._environment.loader
        assert loader is not None
        source = loader.get_source(self._environment, f"{template}.yaml.j2")[0]
        used = meta.find_undeclared_variables(self._environment.parse(source))
        if set(values) != used:
            unused, missing = sorted(set(values) - used), sorted(used - set(values))
            raise TypeError(f"{template}.yaml.j2 uses no {unused} and is not given {missing}")


@pass_context
def _value_filter(context: Context, value: object) -> _Written:
    return _Written(_printer(context).value(_there(value)))


@pass_context
def _block_filter(context: Context, value: object, indent: int) -> _Written:
    return _Written(_printer(context).block(_there(value), indent))


def _there(value: object) -> object:
    """Raises jinja2.UndefinedError, which names what is missing."""
    if isinstance(value, Undefined):
        str(value)
    return value


def _printer(context: Context) -> _Printer:
    printer: _Printer = context[_PRINTER]
    return printer


def _only_written(value: object) -> object:
    """Jinja2 passes everything through here that a template prints."""
    if isinstance(value, _Written):
        return value
    raise UnfilteredValue(f"{value!r} is printed without the filter `value` or `block`")


class _Loader(yaml.SafeLoader):
    """Refuses an object with the same key twice, of which PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(None, None, f"a key twice among {keys}")
        return super().construct_mapping(node, deep)


def _parsed(text: str) -> Any:
    # The loader is a SafeLoader, which makes plain values alone.
    return yaml.load(text, Loader=_Loader)


def _difference(meant: Any, read: Any, field: str) -> str | None:
    """The first field in which the two differ, in value or in type; None where none does."""
    if type(meant) is not type(read):
        return field or "the object"
    if isinstance(meant, dict):
        if list(meant) != list(read):
            return f"{field} (its keys)"
        places = ((meant[key], read[key], f"{field}.{key}".strip(".")) for key in meant)
    elif isinstance(meant, list):
        if len(meant) != len(read):
            return f"{field} (its length)"
        places = ((one, read[place], f"{field}[{place}]") for place, one in enumerate(meant))
    else:
        return None if meant == read else field
    found = (_difference(*place) for place in places)
    return next((field for field in found if field is not None), None)
