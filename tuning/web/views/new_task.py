"""Making a task: the editor with its two tabs, its preview, and importing a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from tuning import actions
from tuning.access import changeable_task, visible_task
from tuning.actions import ActionRefused
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import InvalidTask, Problem, TaskSpec, parse_task
from tuning.domain.spec_document import MAX_BYTES
from tuning.domain.spec_yaml import read_task_text
from tuning.models import Task
from tuning.orchestrator.warm_starting import useless
from tuning.presets import preset, presets
from tuning.preview import mode_refusal
from tuning.web.access import Request
from tuning.web.render import go_to, respond
from tuning.web.task_form.editor import (
    Editor,
    blank_editor,
    changed,
    edit_document,
    edit_json,
    posted_editor,
)
from tuning.web.task_form.shown import editor_context, known_flags

FRAGMENTS = ("editor", "known-flags")
SAVING = ("draft", "start")


@require_http_methods(["GET", "POST"])
def new_task(request: Request) -> HttpResponse:
    if request.method == "POST":
        return _edited(request, None)
    if request.htmx.target == "known-flags":
        flags = known_flags(request.GET.get("base_runtime", ""))
        context = {"flags": flags, "flags_are_open": True}
        return respond(request, "tasks/new.html", context, fragments=FRAGMENTS)
    return _page(request, _beginning(request))


@require_POST
def preview(request: Request) -> HttpResponse:
    """The panel beside the editor, and what to say beside each input; never the inputs."""
    return render(request, "tasks/new_preview.html", editor_context(posted_editor(request.POST)))


@require_http_methods(["GET", "POST"])
def edit_task(request: Request, task_id: int) -> HttpResponse:
    task = changeable_task(request.user, task_id)
    if task.state is not TaskStatus.DRAFT:
        return render(request, "tasks/new_not_a_draft.html", {"task": task}, status=409)
    if request.method == "POST":
        return _edited(request, task)
    return _page(request, edit_document(task.spec), task=task)


class ImportForm(forms.Form):
    """One of the two is enough; a file goes first."""

    file = forms.FileField(required=False, label="A file in JSON or YAML", max_length=255)
    text = forms.CharField(
        required=False,
        strip=False,
        label="or its text",
        widget=forms.Textarea(attrs={"rows": 12, "class": "code", "spellcheck": "false"}),
    )

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if not given.get("file") and not given.get("text", "").strip():
            raise forms.ValidationError("Choose a file, or paste its text.")
        if given.get("file") and given["file"].size > MAX_BYTES:
            raise forms.ValidationError(f"The file is larger than {MAX_BYTES:,} bytes.")
        return given

    def source(self) -> str | bytes:
        """What was given, after `is_valid`."""
        file = self.cleaned_data.get("file")
        text: str | bytes = file.read() if file else self.cleaned_data["text"]
        return text


@require_http_methods(["GET", "POST"])
def import_task(request: Request) -> HttpResponse:
    """Opens the editor with what was imported; stores nothing."""
    if request.method != "POST":
        return render(request, "tasks/new_import.html", {"form": ImportForm()})
    form = ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return render(request, "tasks/new_import.html", {"form": form}, status=422)
    source = form.source()
    try:
        editor = edit_document(read_task_text(source))
    except InvalidTask as invalid:
        text = source if isinstance(source, str) else source.decode(errors="replace")
        if not text.lstrip("\ufeff \t\r\n").startswith("{"):
            context = {"form": form, "problems": invalid.problems}
            return render(request, "tasks/new_import.html", context, status=422)
        editor = edit_json(text)
    return _page(request, editor, is_changed=True)


def _beginning(request: Request) -> Editor:
    """A blank task, a preset, or what an earlier task asked for."""
    if name := request.GET.get("preset"):
        chosen = preset(name)
        if chosen is None:
            raise Http404(f"There is no preset {name}.")
        return edit_document(chosen.spec.to_document())
    if source := request.GET.get("from"):
        if not source.isdecimal() or len(source) > 18:
            raise Http404(f"There is no task {source}.")
        return edit_document(visible_task(request.user, int(source)).spec)
    return blank_editor()


def _edited(request: Request, task: Task | None) -> HttpResponse:
    command = request.POST.get("do", "")
    editor = posted_editor(request.POST)
    if command not in SAVING:
        return _page(request, changed(editor, command), task=task, is_changed=True)
    if not editor.preview.problems:
        spec = parse_task(editor.source)
        owner = task.owner if task else request.user
        refusals = _refusals(spec, owner) if command == "start" else []
        if not refusals:
            return _saved(request, task, spec, start=command == "start")
        for refusal in refusals:
            editor = editor.refused(refusal)
    return _page(request, editor, task=task, is_changed=True, status=422)


def _refusals(spec: TaskSpec, owner: User | None) -> list[Problem]:
    """What keeps a task of `owner` from being started now; as a draft it can be kept."""
    mode = mode_refusal(spec.deployment_mode)
    found = [Problem(("deployment_mode",), f"can't be started. {mode}")] if mode else []
    return [*found, *useless(spec, owner)]


def _saved(request: Request, task: Task | None, spec: TaskSpec, *, start: bool) -> HttpResponse:
    if task is None:
        task = actions.create(spec, request.user, start=start)
        return go_to(request, reverse("task", args=[task.pk]))
    try:
        actions.revise(task, spec)
        if start:
            actions.start(task)
    except ActionRefused:
        # Somebody has started it since this page was opened.
        return render(request, "tasks/new_not_a_draft.html", {"task": task}, status=409)
    return go_to(request, reverse("task", args=[task.pk]))


def _page(
    request: Request,
    editor: Editor,
    *,
    task: Task | None = None,
    is_changed: bool = False,
    status: int = 200,
) -> HttpResponse:
    address = reverse("task-edit", args=[task.pk]) if task else reverse("task-new")
    context: Mapping[str, Any] = {
        "task": task,
        "action": address,
        "is_changed": is_changed,
        "presets": presets(),
        "import_form": ImportForm(auto_id="import-%s"),
        **editor_context(editor),
    }
    return respond(request, "tasks/new.html", context, fragments=FRAGMENTS, status=status)
