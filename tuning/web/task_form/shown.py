"""The editor as its templates want it: inputs with their texts, help and errors."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from controllers.engines.base import KnownFlag
from controllers.engines.catalogue import engine
from tuning.domain.metrics import METRICS
from tuning.domain.names import EngineName
from tuning.domain.parameters import flag_name
from tuning.domain.planning import may_leave_out_loads
from tuning.domain.spec import parse_task
from tuning.domain.spec_errors import Location, Problem
from tuning.domain.spec_objective import MOST_TOGETHER
from tuning.domain.spec_repeats import AUTO
from tuning.domain.spec_warm_start import MOST_NAMED
from tuning.formatting import metric_label
from tuning.preview import MANY_RUNS
from tuning.web.task_form import layout
from tuning.web.task_form.editor import CHEAPER_RUNS, Editor, Tab
from tuning.web.task_form.layout import Field, Kind, spec_field
from tuning.web.task_form.texts import Row, TaskForm

NEW_ROW = "__key__"
"""Stands for the row's key in the rows that the page keeps for adding."""

Options = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ShownInput:
    """A labelled input. `slot` is its place for errors; its id is `field-` and the slot."""

    slot: str
    name: str
    label: str
    kind: Kind
    text: str
    help: str = ""
    placeholder: str = ""
    error: str = ""
    options: Options = ()
    modes: str = ""
    unless: str = ""
    """Out of sight unless the input in this place (the first word) has this value (the second)."""

    @property
    def choices(self) -> Options:
        """The options, and what is chosen though it is none of them."""
        return _with_chosen(self.options, self.text)


@dataclass(frozen=True)
class ShownRow:
    """One row of a group. `flag` is what is known of a parameter's flag; `choices` are the options
    of an objective's cells."""

    group: str
    key: str
    cells: Mapping[str, str]
    error: str
    flag: KnownFlag | None = None
    metrics: Options = ()
    choices: Mapping[str, Options] = field(default_factory=dict)

    @property
    def slot(self) -> str:
        return f"{self.group}-{self.key}"

    @property
    def has_details(self) -> bool:
        """Whether a limit says more than what most limits say."""
        return any(self.cells.get(name) for name in ("weight", "fail_ratio", "steepness"))


@dataclass(frozen=True)
class ShownProblem:
    """`target` is the id of the input to put it right in; None for the task as a whole."""

    path: str
    message: str
    target: str | None


def editor_context(editor: Editor) -> dict[str, Any]:
    """Everything that the templates of the editor and of its preview need."""
    errors = {} if editor.is_fresh else _errors(editor)
    context: dict[str, Any] = {
        "editor": editor,
        "tab": editor.tab.value,
        "problems": [_shown_problem(editor, problem) for problem in editor.preview.problems],
        "errors": errors,
        **_preview_context(editor),
    }
    return context if editor.form is None else context | _form_context(editor.form, errors)


def known_flags(engine_name: str) -> list[KnownFlag]:
    """Those of an engine, by name; none for a word that is no engine."""
    if engine_name not in set(EngineName):
        return []
    flags = engine(EngineName(engine_name), settings.AUTOTUNER_LLAMA_SERVER).known_flags
    return sorted(flags.values(), key=lambda flag: flag.name)


def _preview_context(editor: Editor) -> dict[str, Any]:
    preview = editor.preview
    spec = None if preview.problems else parse_task(editor.source)
    commands = [
        {"id": f"command-{which}", "which": which, "text": shlex.join(command)}
        for which, command in (("first", preview.first_command), ("last", preview.last_command))
        if command is not None and not (which == "last" and preview.configurations == 1)
    ]
    return {
        "preview": preview,
        "commands": commands,
        "many_runs": MANY_RUNS,
        "cheaper_runs": CHEAPER_RUNS,
        "may_be_shorter": spec is not None and may_leave_out_loads(spec),
        "may_repeat": spec is not None and spec.benchmark.repeats == AUTO,
    }


def _form_context(form: TaskForm, errors: Mapping[str, str]) -> dict[str, Any]:
    def inputs(fields: Iterable[Field]) -> list[ShownInput]:
        return [_shown_field(field, form, errors) for field in fields]

    flags = known_flags(form.values["base_runtime"])
    by_name = {flag.name: flag for flag in flags}
    return {
        "basics": inputs(layout.BASICS),
        "cluster": inputs(layout.CLUSTER),
        "description": inputs(layout.DESCRIPTION),
        "optimization": inputs(layout.OPTIMIZATION),
        "benchmark": inputs(layout.BENCHMARK),
        "requests": inputs(layout.REQUESTS),
        "warm_start": _shown_warm_start(form, errors),
        "most_objectives": MOST_TOGETHER,
        "objectives_error": errors.get(layout.OBJECTIVE_SLOT, ""),
        "rows": {
            group: [_shown_row(group, row, errors, by_name) for row in rows]
            for group, rows in form.rows.items()
        },
        "new_rows": {
            group: _shown_row(group, Row(NEW_ROW, dict.fromkeys(cells, "")), {}, {})
            for group, cells in layout.ROWS.items()
        },
        "flags": flags,
        "slots": {slot: errors.get(slot, "") for slot in _slots(form)},
        "hardness": layout.HARDNESS_OPTIONS,
    }


def _slots(form: TaskForm) -> list[str]:
    """Every place for an error on the page, so that each can be filled or emptied."""
    fields = [field.slot for field in layout.FIELDS]
    rows = [f"{group}-{row.key}" for group, rows in form.rows.items() for row in rows]
    return [*fields, layout.OBJECTIVE_SLOT, *layout.WARM_START_SLOTS, *rows]


def _errors(editor: Editor) -> dict[str, str]:
    """What to say at each place; several problems of one place one after the other."""
    errors: dict[str, str] = {}
    for problem in editor.preview.problems:
        place = editor.reading.slot_of(problem) if editor.reading else None
        if place is not None:
            slot, inside = place
            said = f"{_inside(inside)}{problem.message}"
            errors[slot] = f"{errors[slot]}; {said}" if slot in errors else said
    return errors


def _inside(location: Location) -> str:
    """Which part of a field's value is meant, in words."""
    parts = [f"value {key + 1}" if isinstance(key, int) else str(key) for key in location]
    return f"{', '.join(parts)}: " if parts else ""


def _shown_problem(editor: Editor, problem: Problem) -> ShownProblem:
    found = "" if problem.value is None else f" (found {problem.value})"
    place = editor.reading.slot_of(problem) if editor.reading else None
    target = f"field-{place[0]}" if place else None
    if editor.tab is Tab.JSON:
        target = "field-document"
    return ShownProblem(problem.path, problem.message + found, target)


def _shown_field(field: Field, form: TaskForm, errors: Mapping[str, str]) -> ShownInput:
    return ShownInput(
        slot=field.slot,
        name=field.path,
        label=field.label,
        kind=field.kind,
        text=form.values[field.path],
        help=field.help.replace("`", ""),
        placeholder=_placeholder(field),
        error=errors.get(field.slot, ""),
        options=field.options,
        modes=" ".join(mode.value for mode in field.modes),
    )


def _placeholder(field: Field) -> str:
    """What a blank input means, else an example."""
    info = spec_field(field.path)
    default = None if info.is_required() else field.default
    if isinstance(default, list):
        default = ", ".join(str(item) for item in default)
    if isinstance(default, str | int | float) and default != "":
        return f"default {default:g}" if isinstance(default, float) else f"default {default}"
    if field.kind is Kind.TEXT and info.examples:
        return f"e.g. {info.examples[0]}"
    return '{"temperature": 0.0}' if field.kind is Kind.JSON else ""


def _shown_warm_start(form: TaskForm, errors: Mapping[str, str]) -> list[ShownInput]:
    """The choice; then the numbers of tasks, which matter for one of the choices."""
    described = (
        "Learn from what earlier tasks have measured. Only for bayesian.",
        f"Numbers as in the list of tasks, at most {MOST_NAMED}.",
    )
    about = zip(layout.WARM_START_NAMES, layout.WARM_START_SLOTS, described, strict=True)
    (choice, choice_slot, choice_help), (tasks, tasks_slot, tasks_help) = about
    return [
        ShownInput(
            slot=choice_slot,
            name=choice,
            label="Start from earlier tasks",
            kind=Kind.CHOICE,
            text=form.values[choice] or layout.NO_TASKS,
            help=choice_help,
            error=errors.get(choice_slot, ""),
            options=layout.WARM_START_OPTIONS,
        ),
        ShownInput(
            slot=tasks_slot,
            name=tasks,
            label="These tasks",
            kind=Kind.NUMBERS,
            text=form.values[tasks],
            help=tasks_help,
            placeholder="e.g. 12, 14",
            error=errors.get(tasks_slot, ""),
            unless=f"{choice_slot} {layout.NAMED_TASKS}",
        ),
    ]


def _shown_row(
    group: str, row: Row, errors: Mapping[str, str], flags: Mapping[str, KnownFlag]
) -> ShownRow:
    metrics = _metric_options(row.cells["metric"]) if "metric" in row.cells else ()
    choices = {}
    if group == "objectives":
        choices = {
            "name": _with_chosen(layout.OBJECTIVE_OPTIONS, row.cells["name"]),
            "direction": _with_chosen(layout.DIRECTION_OPTIONS, row.cells["direction"]),
        }
    name = flag_name(row.cells.get("name", ""))
    error = errors.get(f"{group}-{row.key}", "")
    return ShownRow(group, row.key, row.cells, error, flags.get(name), metrics, choices)


def _with_chosen(options: Options, chosen: str) -> Options:
    """The options, and what is chosen though it is none of them."""
    if any(value == chosen for value, _ in options):
        return options
    return [(chosen, chosen or "choose …"), *options]


def _metric_options(chosen: str) -> Options:
    options = [
        (name, f"{metric_label(name)} ({metric.unit or 'share'})")
        for name, metric in METRICS.items()
    ]
    if chosen in METRICS:
        return options
    return [(chosen, chosen or "choose a metric …"), *options]
