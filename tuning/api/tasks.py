"""Tasks: make, find, change, start and stop them, and take their results along."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import reverse
from django.utils.http import content_disposition_header
from ninja import Query, Router, Status
from pydantic import Field

from tuning import actions
from tuning.access import SignedInRequest, changeable_task, visible_task
from tuning.actions import ACTIONS, TaskAction
from tuning.api.errors import ProblemDocument, errors
from tuning.api.paging import Page, PageQuery
from tuning.api.task_body import TASK_BODY, body_of, task_of
from tuning.api.task_search import TaskSearch
from tuning.documents.document import Document
from tuning.documents.task import (
    ProgressSummary,
    TaskDetail,
    TaskDocument,
    task_detail,
    task_document,
)
from tuning.exports import ExportFormat, export_results
from tuning.models import Task
from tuning.preview import preview_task
from tuning.task_rows import read_rows

router = Router(tags=["tasks"])


class TaskPage(Page[TaskDocument]):
    """Tasks that the user may see."""


class PreviewDocument(Document):
    """What a task would do. Where `problems` has any, the rest is null."""

    problems: list[ProblemDocument]
    warnings: list[str]
    configurations: int | None = Field(description="Experiments, with the baseline.")
    verifying_launches: int = Field(
        description="Further launches at the end, of the winner and the baseline in turn."
    )
    is_complete: bool = Field(description="Whether that is all of them; else a lower bound.")
    estimate_s: float | None = Field(description="Seconds for all of them, at a guess.")
    gpus_needed: int | None = Field(description="The most that any one configuration takes.")
    first_command: list[str] | None = Field(description="Of the first configuration.")
    last_command: list[str] | None = Field(description="Of the last configuration.")


@router.post(
    "/",
    response={201: TaskDetail, **errors(400, 403, 413, 422)},
    openapi_extra=TASK_BODY,
    summary="Make a task",
)
def create_task(
    request: SignedInRequest, response: HttpResponse, start: Query[bool] = False
) -> Status[TaskDetail]:
    """A draft; or with `start=true` a task that waits for a worker. The header Location says
    where it is."""
    return _made(actions.create(task_of(request), request.user, start=start), response)


@router.get("/", response={200: TaskPage, **errors(422)}, summary="List tasks")
def list_tasks(
    request: SignedInRequest, search: Query[TaskSearch], paging: Query[PageQuery]
) -> TaskPage:
    """All that the user may see, the newest first."""
    found = search.of(Task.objects.visible_to(request.user))
    rows = read_rows(paging.part_of(found.values_list("pk", flat=True)))
    return TaskPage(
        items=[
            task_document(row.task, row.objectives, ProgressSummary.model_validate(row))
            for row in rows
        ],
        total=found.count(),
        page=paging.page,
        page_size=paging.page_size,
    )


@router.post(
    "/preview",
    response={200: PreviewDocument, **errors(403, 413)},
    openapi_extra=TASK_BODY,
    summary="Preview a task",
)
def preview(request: SignedInRequest) -> PreviewDocument:
    """What the task would do, or all that is wrong with it. Nothing is stored."""
    return PreviewDocument.model_validate(preview_task(body_of(request)))


@router.get("/{int:task_id}", response={200: TaskDetail, **errors(404)}, summary="Get a task")
def get_task(request: SignedInRequest, task_id: int) -> TaskDetail:
    return task_detail(visible_task(request.user, task_id))


@router.put(
    "/{int:task_id}",
    response={200: TaskDetail, **errors(400, 403, 404, 409, 413, 422)},
    openapi_extra=TASK_BODY,
    summary="Change a draft",
)
def change_task(request: SignedInRequest, task_id: int) -> TaskDetail:
    """A task that was started stays as it is: duplicate it instead (409)."""
    task = changeable_task(request.user, task_id)
    actions.revise(task, task_of(request))
    return _now(task)


@router.delete(
    "/{int:task_id}", response={204: None, **errors(403, 404, 409)}, summary="Delete a task"
)
def delete_task(request: SignedInRequest, task_id: int) -> Status[None]:
    """With its measurements, log and raw results. Cancel it first if it has not ended (409)."""
    ACTIONS[TaskAction.DELETE](changeable_task(request.user, task_id))
    return Status(204, None)


@router.post(
    "/{int:task_id}/start",
    response={200: TaskDetail, **errors(403, 404, 409)},
    summary="Start a draft",
)
def start_task(request: SignedInRequest, task_id: int) -> TaskDetail:
    """It waits for a worker."""
    return _act(request, task_id, TaskAction.START)


@router.post(
    "/{int:task_id}/cancel",
    response={200: TaskDetail, **errors(403, 404, 409)},
    summary="Cancel a task",
)
def cancel_task(request: SignedInRequest, task_id: int) -> TaskDetail:
    """What runs is stopped within seconds; what was measured is kept."""
    return _act(request, task_id, TaskAction.CANCEL)


@router.post(
    "/{int:task_id}/pause",
    response={200: TaskDetail, **errors(403, 404, 409)},
    summary="Pause a task",
)
def pause_task(request: SignedInRequest, task_id: int) -> TaskDetail:
    """The experiment that runs is finished first."""
    return _act(request, task_id, TaskAction.PAUSE)


@router.post(
    "/{int:task_id}/resume",
    response={200: TaskDetail, **errors(403, 404, 409)},
    summary="Resume a task",
)
def resume_task(request: SignedInRequest, task_id: int) -> TaskDetail:
    """One that is paused, cancelled or failed goes on; what was measured is not repeated."""
    return _act(request, task_id, TaskAction.RESUME)


@router.post(
    "/{int:task_id}/duplicate",
    response={201: TaskDetail, **errors(403, 404)},
    summary="Duplicate a task",
)
def duplicate_task(
    request: SignedInRequest, response: HttpResponse, task_id: int
) -> Status[TaskDetail]:
    """A draft that asks for the same, and belongs to whoever asked."""
    task = visible_task(request.user, task_id)
    return _made(actions.duplicate(task, request.user), response)


@router.get(
    "/{int:task_id}/export",
    response={200: None, **errors(404, 422)},
    openapi_extra={
        "responses": {
            200: {
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "text/csv": {"schema": {"type": "string"}},
                    "application/yaml": {"schema": {"type": "object"}},
                    "text/html": {"schema": {"type": "string"}},
                }
            }
        }
    },
    summary="Export a task's results",
)
def export_task(
    request: SignedInRequest, task_id: int, format: Query[ExportFormat] = ExportFormat.JSON
) -> HttpResponse:
    """The task with everything that was measured, as a file."""
    export = export_results(visible_task(request.user, task_id), format)
    disposition = content_disposition_header(as_attachment=True, filename=export.filename)
    return HttpResponse(
        export.content,
        content_type=export.content_type,
        headers={"Content-Disposition": disposition or "attachment"},
    )


def _act(request: SignedInRequest, task_id: int, action: TaskAction) -> TaskDetail:
    task = changeable_task(request.user, task_id)
    ACTIONS[action](task)
    return _now(task)


def _made(task: Task, response: HttpResponse) -> Status[TaskDetail]:
    response["Location"] = reverse("api:get_task", args=[task.pk])
    return Status(201, task_detail(task))


def _now(task: Task) -> TaskDetail:
    task.refresh_from_db()
    return task_detail(task)
