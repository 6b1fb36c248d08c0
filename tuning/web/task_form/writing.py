"""From a task document, right or wrong, to the texts of the form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tuning.domain.slo import DEFAULT_STEEPNESS, DEFAULT_WEIGHT
from tuning.domain.spec import InvalidTask, parse_task
from tuning.domain.spec_document import unusable_values
from tuning.domain.spec_errors import InvalidSection, Location, Problem, shown
from tuning.domain.spec_parameters import declarations_in, write_parameters
from tuning.domain.spec_slo import STEEPNESS, read_slos, write_slos
from tuning.web.task_form.flag_values import write_values
from tuning.web.task_form.json_text import json_text
from tuning.web.task_form.layout import (
    ANY_METRIC,
    FIELDS,
    NAMED_TASKS,
    NO_TASKS,
    OBJECTIVE,
    ROWS,
    SIMILAR_TASKS,
    SLO_NUMBERS,
    WARM_START,
    WARM_START_NAMES,
    Field,
    Kind,
)
from tuning.web.task_form.reading import read_form
from tuning.web.task_form.texts import Row, TaskForm

_SLO_DEFAULTS = {"weight": DEFAULT_WEIGHT, "fail_ratio": 0.0, STEEPNESS: DEFAULT_STEEPNESS}


def write_form(document: Mapping[str, Any]) -> TaskForm:
    """The form that stands for the document, as far as the form can show it."""
    values = {field.path: _field_text(field, document) for field in FIELDS}
    rows: Mapping[str, list[dict[str, str]]] = {
        "parameters": list(_parameter_cells(_at(document, ("parameters",)))),
        "constraints": _text_cells(_at(document, ("constraints",))),
        "scenarios": _text_cells(_at(document, ("benchmark", "traffic_scenarios"), ["D(100,100)"])),
        "slo": list(_slo_cells(_at(document, ("slo",)))),
        "objectives": list(_objective_cells(_at(document, OBJECTIVE, "minimize_latency"))),
    }
    return TaskForm(
        values=values | _warm_start_texts(_at(document, WARM_START, False)),
        rows={
            group: tuple(
                Row(str(number), dict.fromkeys(ROWS[group], "") | cells)
                for number, cells in enumerate(cells_of_rows)
            )
            for group, cells_of_rows in rows.items()
        },
    )


def open_in_form(document: Mapping[str, Any]) -> TaskForm | tuple[Problem, ...]:
    """The form, or why the form would lose something of this document.

    A document that is right is shown in its normalised form. One that is wrong may be shown if
    the form has all of its problems, so that nobody is told that it is right now.
    """
    try:
        spec = parse_task(document)
    except InvalidTask as invalid:
        form = write_form(document)
        found = {problem.location for problem in _problems_of(read_form(form).document)}
        lost = [problem for problem in invalid.problems if problem.location not in found]
        return tuple(lost) or unusable(document) or form
    form = write_form(spec.to_document())
    return tuple(_line_breaks(form)) or form


def unusable(document: Mapping[str, Any]) -> tuple[Problem, ...]:
    """What can't be carried from one tab to the other, such as a key that is written twice."""
    try:
        return tuple(unusable_values(document))
    except InvalidTask as invalid:
        return invalid.problems


def _problems_of(document: Mapping[str, Any]) -> tuple[Problem, ...]:
    try:
        parse_task(document)
    except InvalidTask as invalid:
        return invalid.problems
    return ()


def _line_breaks(form: TaskForm) -> Iterator[Problem]:
    """An input of one line would drop them."""
    message = "has a line break, which the form can't show"
    for field in FIELDS:
        text = form.values[field.path]
        if (field.kind is Kind.LINES and "\r" in text) or (
            field.kind not in (Kind.LINES, Kind.JSON) and _has_break(text)
        ):
            yield Problem(field.location, message, shown(text))
    for group, rows in form.rows.items():
        for number, row in enumerate(rows):
            if any(_has_break(text) for text in row.cells.values()):
                yield Problem((group, number), message)


def _has_break(text: str) -> bool:
    return "\n" in text or "\r" in text


def _at(document: Any, location: Location, default: Any = None) -> Any:
    for key in location:
        if not isinstance(document, Mapping) or key not in document:
            return default
        document = document[key]
    return document


def _field_text(field: Field, document: Mapping[str, Any]) -> str:
    default = field.default if field.kind in (Kind.CHOICE, Kind.SWITCH) else None
    value = _at(document, field.location, default)
    match field.kind:
        case Kind.SWITCH:
            return "on" if value is True else ""
        case Kind.JSON:
            return json_text(value) if isinstance(value, dict) and value else ""
        case Kind.NUMBERS:
            numbers = value if isinstance(value, list | tuple) else [value]
            return ", ".join(_scalar_text(number) for number in numbers)
        case _:
            return _scalar_text(value)


def _scalar_text(value: Any) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    return str(value) if isinstance(value, str) else ""


def _objective_cells(objective: Any) -> Iterator[dict[str, str]]:
    for one in objective if isinstance(objective, list | tuple) else [objective]:
        if isinstance(one, Mapping):
            texts = {key: _scalar_text(one.get(key)) for key in ("metric", "direction")}
            yield {"name": ANY_METRIC} | texts
        else:
            yield {"name": _scalar_text(one)}


def _warm_start_texts(wanted: Any) -> dict[str, str]:
    if isinstance(wanted, list | tuple):
        texts = [NAMED_TASKS, ", ".join(_scalar_text(one) for one in wanted)]
    elif isinstance(wanted, bool):
        texts = [SIMILAR_TASKS if wanted else NO_TASKS, ""]
    else:
        texts = [_scalar_text(wanted), ""]
    return dict(zip(WARM_START_NAMES, texts, strict=True))


def _parameter_cells(section: Any) -> Iterator[dict[str, str]]:
    if not isinstance(section, Mapping):
        return
    for entry in declarations_in(section):
        if entry.parameter is None:
            yield {"name": entry.key, "values": write_values(section[entry.key])}
        else:
            (declared,) = write_parameters({entry.name: entry.parameter}).values()
            yield {"name": entry.name, "values": write_values(declared)}


def _text_cells(items: Any) -> list[dict[str, str]]:
    if not isinstance(items, list | tuple):
        return []
    return [{"text": item} for item in items if isinstance(item, str)]


def _slo_cells(section: Any) -> Iterator[dict[str, str]]:
    if not isinstance(section, Mapping):
        return
    shared = {key: item for key, item in section.items() if key == STEEPNESS}
    for key, item in section.items():
        if key in shared:
            continue
        try:
            limits: Mapping[str, Any] = write_slos(read_slos({**shared, key: item}))
        except InvalidSection:
            limits = {key: item}
        for metric, limit in limits.items():
            if isinstance(limit, Mapping):
                yield {"metric": metric} | _limit_cells(limit)


def _limit_cells(limit: Mapping[str, Any]) -> dict[str, str]:
    cells = {
        name: _scalar_text(limit.get(name))
        for name in SLO_NUMBERS
        if name not in _SLO_DEFAULTS or limit.get(name) != _SLO_DEFAULTS[name]
    }
    return cells | {"hard": "soft" if limit.get("hard") is False else "hard"}
