"""From what was typed to the task document, and from a problem back to the input it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuning.domain.names import FlagValue
from tuning.domain.parameters import flag_name
from tuning.domain.spec_document import WrittenObject
from tuning.domain.spec_errors import Location, Problem, shown
from tuning.web.task_form import layout
from tuning.web.task_form.flag_values import UnreadableText, read_json, read_scalar, read_values
from tuning.web.task_form.layout import (
    ANY_METRIC,
    FIELDS,
    NAMED_TASKS,
    OBJECTIVE,
    OBJECTIVE_SLOT,
    ROWS,
    SLO_NUMBERS,
    WARM_START,
    WARM_START_NAMES,
    WARM_START_SLOTS,
    Field,
    Kind,
)
from tuning.web.task_form.texts import Row, TaskForm

_SCENARIOS = ("benchmark", "traffic_scenarios")


@dataclass(frozen=True)
class Reading:
    """`problems` are texts that can't be read at all; the document lacks their values.

    `slots` says which input, by the name of its place for errors, stands for which place of the
    document.
    """

    document: dict[str, Any]
    problems: tuple[Problem, ...]
    slots: Mapping[Location, str]

    def slot_of(self, problem: Problem) -> tuple[str, Location] | None:
        """The input that a problem belongs to, and where in its value the problem lies."""
        for length in range(len(problem.location), 0, -1):
            slot = self.slots.get(problem.location[:length])
            if slot is not None:
                return slot, problem.location[length:]
        return None


def read_form(form: TaskForm) -> Reading:
    """The task document that the form stands for, right or wrong. What is blank is left out."""
    reader = _Reader()
    for field in FIELDS:
        reader.field(field, form.values[field.path])
    reader.slots["model",] = reader.slots["model", "id_or_path"]
    reader.objectives(form.rows["objectives"])
    reader.warm_start(form)
    reader.parameters(form.rows["parameters"])
    reader.texts(("constraints",), "constraints", form.rows["constraints"])
    reader.texts(_SCENARIOS, "scenarios", form.rows["scenarios"])
    reader.slos(form.rows["slo"])
    return Reading(reader.document, tuple(reader.problems), reader.slots)


class _Reader:
    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.slots: dict[Location, str] = {}

    def field(self, field: Field, text: str) -> None:
        self.slots[field.location] = field.slot
        if field.kind is Kind.SWITCH:
            self._put(field.location, bool(text))
        elif text.strip():
            try:
                self._put(field.location, _value(field.kind, text))
            except UnreadableText as error:
                self.problems.append(Problem(field.location, str(error)))

    def objectives(self, rows: tuple[Row, ...]) -> None:
        """One stands by itself, several in a list; each row is the place for its own mistakes."""
        self.slots[OBJECTIVE] = OBJECTIVE_SLOT
        written = [row for row in rows if not row.is_blank]
        values = [_objective(row) for row in written]
        if len(written) == 1:
            self.slots[OBJECTIVE] = f"objectives-{written[0].key}"
            self._put(OBJECTIVE, values[0])
        elif written:
            for index, row in enumerate(written):
                self.slots[*OBJECTIVE, index] = f"objectives-{row.key}"
            self._put(OBJECTIVE, values)

    def warm_start(self, form: TaskForm) -> None:
        choice, tasks = (form.values[name].strip() for name in WARM_START_NAMES)
        self.slots[WARM_START] = WARM_START_SLOTS[choice == NAMED_TASKS]
        match choice:
            case "":
                return
            case layout.NAMED_TASKS:
                self._put(WARM_START, _numbers(tasks))
            case layout.NO_TASKS | layout.SIMILAR_TASKS:
                self._put(WARM_START, choice == layout.SIMILAR_TASKS)
            case _:
                self._put(WARM_START, choice)

    def parameters(self, rows: tuple[Row, ...]) -> None:
        pairs = []
        for row in rows:
            name, text = row.cells["name"].strip(), row.cells["values"]
            if row.is_blank:
                continue
            for spelling in (name, flag_name(name)):
                self.slots["parameters", spelling] = f"parameters-{row.key}"
            try:
                pairs.append((name, read_values(text)))
            except UnreadableText as error:
                self.problems.append(Problem(("parameters", name), str(error), shown(text)))
                pairs.append((name, []))
        self.document["parameters"] = WrittenObject(pairs)

    def texts(self, location: Location, group: str, rows: tuple[Row, ...]) -> None:
        written = [row for row in rows if not row.is_blank]
        for index, row in enumerate(written):
            self.slots[*location, index] = f"{group}-{row.key}"
        if written or group == "scenarios":
            self._put(location, [row.cells["text"].strip() for row in written])

    def slos(self, rows: tuple[Row, ...]) -> None:
        pairs = []
        for row in rows:
            if row.is_blank:
                continue
            metric = row.cells["metric"].strip()
            self.slots["slo", metric] = f"slo-{row.key}"
            limit: dict[str, Any] = {
                name: read_scalar(text) for name in SLO_NUMBERS if (text := row.cells[name].strip())
            }
            pairs.append((metric, limit | {"hard": row.cells["hard"] != "soft"}))
        if pairs:
            self.document["slo"] = WrittenObject(pairs)

    def _put(self, location: Location, value: Any) -> None:
        section = self.document
        for key in location[:-1]:
            section = section.setdefault(str(key), {})
        section[str(location[-1])] = value


def _objective(row: Row) -> Any:
    name, metric, direction = (row.cells[cell].strip() for cell in ROWS["objectives"])
    return {"metric": metric, "direction": direction} if name == ANY_METRIC else name


def _numbers(text: str) -> list[FlagValue]:
    """Between commas, semicolons or blanks."""
    parts = re.split(r"[\s,;]+", text.strip(" \t\n,;"))
    return [read_scalar(part) for part in parts if part]


def _value(kind: Kind, text: str) -> Any:
    match kind:
        case Kind.NUMBER:
            return read_scalar(text.strip())
        case Kind.NUMBERS:
            return _numbers(text)
        case Kind.JSON:
            return read_json(text)
        case Kind.LINES:
            return text
        case _:
            return text.strip()
