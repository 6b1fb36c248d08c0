"""What a chart is: numbers for the browser to draw, and the same ones as a table to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tuning.domain.metrics import METRICS
from tuning.formatting import metric_label

Item = TypeVar("Item")

TABLE_ROWS = 50
"""How many rows a table under a chart has at most; the exports have them all."""


@dataclass(frozen=True)
class Column:
    label: str
    is_number: bool = True

    @property
    def css_class(self) -> str:
        return "number" if self.is_number else "words"


@dataclass(frozen=True)
class Row:
    """One row. The first cell leads to the experiment where there is one."""

    cells: tuple[str, ...]
    experiment_id: int | None = None
    role: str = ""


@dataclass(frozen=True)
class Table:
    """`left_out` rows are not shown."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    left_out: int = 0

    @property
    def lines(self) -> list[tuple[Row, str, list[tuple[str, str]]]]:
        """Each row with its first cell, and with its other cells after their CSS classes.

        A template asks for thousands of cells, so it is left as little as possible to decide.
        """
        classes = [column.css_class for column in self.columns[1:]]
        return [
            (row, row.cells[0], list(zip(classes, row.cells[1:], strict=True))) for row in self.rows
        ]


@dataclass(frozen=True)
class Choice:
    """Something about the chart that a reader may choose: a name and its values with labels."""

    name: str
    label: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chart:
    """`kind` says how static/js/chart-options.js draws `data`, which is all JSON.

    `reading` says how to read it, `summary` what is to be seen, for those who can't see it.
    With `nothing`, the reason why there is nothing to draw yet, the rest is empty.
    """

    key: str
    kind: str
    title: str
    reading: str
    summary: str = ""
    data: Mapping[str, Any] | None = None
    table: Table = Table((), ())
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()
    nothing: str = ""


def table(columns: Sequence[Column], items: Sequence[Item], row: Callable[[Item], Row]) -> Table:
    """The first items, a row for each."""
    rows = tuple(row(item) for item in items[:TABLE_ROWS])
    return Table(tuple(columns), rows, len(items) - len(rows))


def measure(metric: str) -> dict[str, str]:
    """What an axis needs to know of a metric."""
    return {
        "name": metric,
        "label": capitalised(metric_label(metric)),
        "unit": METRICS[metric].unit,
    }


def capitalised(text: str) -> str:
    """The first letter large, and the others as they are: `TTFT p99` stays."""
    return text[:1].upper() + text[1:]


def counted(number: int, one: str, many: str = "") -> str:
    """`1 experiment`, `1,200 experiments`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
