"""The form as it was typed: texts only, so that nothing typed is ever lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

from django.http import QueryDict

from tuning.web.task_form.layout import ROWS, SINGLE_NAMES

_ROW_KEY = re.compile(r"[0-9a-z]{1,12}")


@dataclass(frozen=True)
class Row:
    """One row of a group. `key` tells it from the others for as long as the page is open."""

    key: str
    cells: Mapping[str, str]

    @property
    def is_blank(self) -> bool:
        return not any(text.strip() for name, text in self.cells.items() if name != "hard")


@dataclass(frozen=True)
class TaskForm:
    """`values` by name of the input; `rows` by group, in the order of the page."""

    values: Mapping[str, str]
    rows: Mapping[str, tuple[Row, ...]]

    def with_values(self, **changed: str) -> TaskForm:
        """Changed inputs; `__` stands for the point in their names."""
        named = {name.replace("__", "."): text for name, text in changed.items()}
        return replace(self, values={**self.values, **named})

    def with_row(self, group: str, **cells: str) -> TaskForm:
        """One more row at the end of a group."""
        keys = {row.key for row in self.rows[group]}
        key = next(str(number) for number in range(len(keys) + 1) if str(number) not in keys)
        row = Row(key, dict.fromkeys(ROWS[group], "") | cells)
        return replace(self, rows={**self.rows, group: (*self.rows[group], row)})

    def without_row(self, group: str, key: str) -> TaskForm:
        kept = tuple(row for row in self.rows[group] if row.key != key)
        return replace(self, rows={**self.rows, group: kept})


def posted_form(data: QueryDict) -> TaskForm:
    """The form as a browser sends it. Line breaks are those of JSON, not those of HTTP."""
    return TaskForm(
        values={name: _text(data.get(name, "")) for name in SINGLE_NAMES},
        rows={group: _posted_rows(data, group) for group in ROWS},
    )


def _posted_rows(data: QueryDict, group: str) -> tuple[Row, ...]:
    names = ROWS[group]
    columns = [data.getlist(f"{group}-{name}") for name in names]
    keys = data.getlist(f"{group}-row")
    rows: dict[str, Row] = {}
    for key, *texts in zip_longest(keys, *columns, fillvalue=""):
        if not _ROW_KEY.fullmatch(key) or key in rows:
            key = f"x{len(rows)}"
        rows[key] = Row(key, dict(zip(names, map(_text, texts), strict=True)))
    return tuple(rows.values())


def _text(sent: str) -> str:
    return sent.replace("\r\n", "\n").replace("\r", "\n")
