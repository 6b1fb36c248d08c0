"""One task being edited, on either of its two tabs, with what it would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from django.http import QueryDict

from tuning.domain.spec import InvalidTask, Problem, SearchStrategy, read_document
from tuning.domain.spec_document import load_document
from tuning.domain.spec_objective import MOST_TOGETHER
from tuning.preview import Preview, preview_task
from tuning.web.task_form.json_text import json_text
from tuning.web.task_form.reading import Reading, read_form
from tuning.web.task_form.texts import TaskForm, posted_form
from tuning.web.task_form.writing import open_in_form, unusable, write_form

FORM_CANT_SHOW = "The form can't show all of this. Put the listed points right first."
JSON_CANT_SAY = "This can't be written as JSON yet. Put the listed points right first."
CHEAPER_RUNS = 40
"""Random search mostly comes close to the best within so many configurations."""

_BLANK: Mapping[str, Any] = {"deployment_mode": "local", "base_runtime": "llamacpp"}


class Tab(StrEnum):
    FORM = "form"
    JSON = "json"


@dataclass(frozen=True)
class Editor:
    """`reading` is there on the form's tab, `text` on that of JSON.

    `note` is said on top. Problems are not shown beside the inputs of a fresh one, which nobody
    has had a chance to fill in.
    """

    tab: Tab
    preview: Preview
    form: TaskForm | None = None
    reading: Reading | None = None
    text: str = ""
    note: str = ""
    is_fresh: bool = False

    @property
    def source(self) -> Mapping[str, Any] | str:
        """What `parse_task` is given to read."""
        return self.text if self.reading is None else self.reading.document

    def refused(self, problem: Problem) -> Editor:
        """The same with one more problem, which only shows when it is to be saved."""
        problems = (*self.preview.problems, problem)
        return replace(self, preview=replace(self.preview, problems=problems))


def blank_editor() -> Editor:
    form = write_form(_BLANK).with_row("parameters")
    return replace(edit_form(form), is_fresh=True)


def edit_form(form: TaskForm, note: str = "") -> Editor:
    reading = read_form(form)
    preview = preview_task(reading.document)
    if reading.problems:
        places = {problem.location for problem in reading.problems}
        others = (one for one in preview.problems if one.location not in places)
        preview = Preview(problems=(*reading.problems, *others))
    return Editor(Tab.FORM, preview, form=form, reading=reading, note=note)


def edit_json(text: str, note: str = "") -> Editor:
    return Editor(Tab.JSON, preview_task(text), text=text, note=note)


def edit_document(document: Mapping[str, Any]) -> Editor:
    """In the form where it can show the document, else as JSON."""
    opened = open_in_form(document)
    if isinstance(opened, TaskForm):
        return edit_form(opened)
    return edit_json(json_text(document), FORM_CANT_SHOW)


def posted_editor(data: QueryDict) -> Editor:
    """What a browser sends of either tab."""
    if data.get("tab") == Tab.JSON:
        return edit_json(data.get("document", "").replace("\r\n", "\n"))
    return edit_form(posted_form(data))


def changed(editor: Editor, command: str) -> Editor:
    """What a button inside the editor does: `to-json`, `cheaper`, `add:slo`, `remove:slo:3` …

    A command that means nothing changes nothing.
    """
    name, _, rest = command.partition(":")
    group, _, key = rest.partition(":")
    if name == "to-json":
        return _to_json(editor)
    if name == "to-form":
        return _to_form(editor)
    if name == "cheaper":
        return _cheaper(editor)
    if editor.form is None:
        return editor
    if name == "add" and group in editor.form.rows and not _is_full(editor.form, group):
        return edit_form(editor.form.with_row(group))
    if name == "flag":
        return edit_form(editor.form.with_row("parameters", name=rest))
    if name == "remove" and group in editor.form.rows:
        return edit_form(editor.form.without_row(group, key))
    return editor


def _is_full(form: TaskForm, group: str) -> bool:
    return group == "objectives" and len(form.rows[group]) >= MOST_TOGETHER


def _to_json(editor: Editor) -> Editor:
    if editor.reading is None:
        return editor
    if editor.reading.problems or unusable(editor.reading.document):
        return replace(editor, note=JSON_CANT_SAY)
    return edit_json(json_text(editor.reading.document))


def _to_form(editor: Editor) -> Editor:
    if editor.reading is not None:
        return editor
    try:
        opened = open_in_form(load_document(editor.text))
    except InvalidTask:
        return replace(editor, note=FORM_CANT_SHOW)
    if isinstance(opened, TaskForm):
        return edit_form(opened)
    problems = editor.preview.problems or opened
    return replace(editor, preview=Preview(problems=problems), note=FORM_CANT_SHOW)


def _cheaper(editor: Editor) -> Editor:
    limit = SearchStrategy.BAYESIAN.value, CHEAPER_RUNS
    if editor.form is not None:
        return edit_form(
            editor.form.with_values(
                optimization__strategy=limit[0], optimization__max_iterations=str(limit[1])
            )
        )
    try:
        document = read_document(editor.text)
    except InvalidTask:
        return editor
    optimization = document.get("optimization", {})
    if not isinstance(optimization, dict):
        return editor
    changes = dict(zip(("strategy", "max_iterations"), limit, strict=True))
    return edit_json(json_text(document | {"optimization": optimization | changes}))
