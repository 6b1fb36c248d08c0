"""The form of a task, sent as a browser sends it and read back."""

from __future__ import annotations

import json

from django.http import QueryDict

from tuning.domain.spec import TaskSpec, parse_task
from tuning.web.task_form.editor import Editor, changed
from tuning.web.task_form.json_text import json_text
from tuning.web.task_form.reading import read_form
from tuning.web.task_form.texts import TaskForm, posted_form
from tuning.web.task_form.writing import open_in_form


def through_a_browser(form: TaskForm) -> TaskForm:
    """What comes back when a page with this form is sent."""
    data = QueryDict(mutable=True)
    for name, text in form.values.items():
        # A ticked box is sent, an empty one is not; browsers send line breaks as HTTP has them.
        if text or name != "optimization.baseline":
            data[name] = text.replace("\n", "\r\n")
    for group, rows in form.rows.items():
        for row in rows:
            data.appendlist(f"{group}-row", row.key)
            for name, text in row.cells.items():
                data.appendlist(f"{group}-{name}", text)
    return posted_form(data)


def round_trip(spec: TaskSpec) -> TaskSpec:
    form = open_in_form(spec.to_document())
    assert isinstance(form, TaskForm), form
    reading = read_form(through_a_browser(form))
    assert not reading.problems
    as_json = json_text(reading.document)
    assert json.loads(as_json) == reading.document
    return parse_task(as_json)


def switched(editor: Editor, *commands: str) -> Editor:
    for command in commands:
        editor = changed(editor, command)
    return editor
