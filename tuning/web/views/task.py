"""The page of a task, and what is done to it there."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from tuning import actions
from tuning.access import changeable_task, visible_task
from tuning.actions import ACTIONS, ActionRefused, TaskAction
from tuning.models import Task
from tuning.web.access import Request
from tuning.web.render import go_to, respond
from tuning.web.task_page import TaskPage

FRAGMENTS = ("head", "experiments", "live")


@require_safe
def task_page(request: Request, task_id: int) -> HttpResponse:
    return _page(request, visible_task(request.user, task_id))


@require_POST
def act(request: Request, task_id: int, action: str) -> HttpResponse:
    """One of the task's actions. Answers with the head of the page, or leads to a page."""
    if action not in list(TaskAction):
        raise Http404(f"Nothing called {action} can be done to a task.")
    task = changeable_task(request.user, task_id)
    try:
        said = ACTIONS[TaskAction(action)](task)
    except ActionRefused as refusal:
        return _refused(request, task, refusal)
    except Task.DoesNotExist as gone:
        raise Http404(f"Task {task_id} was deleted meanwhile.") from gone
    if action == TaskAction.DELETE:
        messages.success(request, said)
        return go_to(request, reverse("task-list"))
    return _done(request, task, said)


@require_POST
def duplicate(request: Request, task_id: int) -> HttpResponse:
    """Whoever may see a task may ask for the same."""
    copy = actions.duplicate(visible_task(request.user, task_id), request.user)
    messages.success(
        request, f"Task {copy.pk} is a draft that asks for the same as task {task_id}."
    )
    return go_to(request, reverse("task-edit", args=[copy.pk]))


def _done(request: Request, task: Task, said: str) -> HttpResponse:
    if not request.htmx:
        messages.success(request, said)
        return go_to(request, reverse("task", args=[task.pk]))
    response = _page(request, visible_task(request.user, task.pk))
    return trigger_client_event(response, "toast", {"text": said, "kind": "success"})


def _refused(request: Request, task: Task, refusal: ActionRefused) -> HttpResponse:
    if not request.htmx:
        messages.error(request, str(refusal))
        return go_to(request, reverse("task", args=[task.pk]))
    response = HttpResponse(status=409)
    response["X-Problem"] = " ".join(str(refusal).split())
    return response


def _page(request: Request, task: Task) -> HttpResponse:
    page = TaskPage(task, request.user, request.GET)
    context = {"page": page, "task": task, "section": "tasks"}
    return respond(request, "tasks/detail.html", context, fragments=FRAGMENTS)
