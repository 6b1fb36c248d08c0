"""A task's log, in pieces or as a stream."""

from __future__ import annotations

from django.http import HttpResponseBase, StreamingHttpResponse
from ninja import HeaderEx, P, Query, Router
from pydantic import Field

from tuning.access import SignedInRequest, visible_task
from tuning.api.errors import errors
from tuning.api.log_stream import log_events
from tuning.documents.document import Document
from tuning.documents.log import LogLineDocument
from tuning.realtime.log_reading import MAX_LINES, read_batch

router = Router(tags=["logs"])

EVENTS = "text/event-stream"
BEYOND_ANY_LINE = 10**18


class LogQuery(Document):
    """From where on, and how much."""

    after: int = Field(
        default=0, ge=0, lt=BEYOND_ANY_LINE, description="Number of the last line that you have."
    )
    limit: int = Field(
        default=MAX_LINES,
        ge=1,
        le=MAX_LINES,
        description="Lines of one answer; long lines may make it fewer. A stream has no limit.",
    )
    stream: bool = Field(
        default=False, description=f"As server-sent events; so does `Accept: {EVENTS}`."
    )


class LogPage(Document):
    """Consecutive lines. Ask again with `after=last_seq` for the next ones."""

    lines: list[LogLineDocument]
    last_seq: int = Field(description="Number of the last line that you have now.")
    task_has_ended: bool = Field(
        description="Whether nothing more will come, once an answer has no lines."
    )


@router.get(
    "/tasks/{int:task_id}/logs",
    response={200: LogPage, **errors(404, 422)},
    openapi_extra={"responses": {200: {"content": {EVENTS: {"schema": {"type": "string"}}}}}},
    summary="Read a task's log",
)
def read_log(
    request: SignedInRequest,
    task_id: int,
    query: Query[LogQuery],
    last_event_id: HeaderEx[int, P(alias="Last-Event-ID", ge=0, lt=BEYOND_ANY_LINE)] = 0,
) -> LogPage | HttpResponseBase:
    """Lines have numbers without gaps, from 1. A stream sends each as an event whose id is its
    number, and goes on after `Last-Event-ID`; the event `end` says that the task has ended."""
    task = visible_task(request.user, task_id)
    if query.stream or request.get_preferred_type(["application/json", EVENTS]) == EVENTS:
        return StreamingHttpResponse(
            log_events(request.user, task_id, max(query.after, last_event_id)),
            content_type=EVENTS,
            # A proxy that buffers would hold the lines back.
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
    # The state first: lines written before the end are then among those read after it.
    has_ended = task.state.is_terminal
    lines = read_batch(task, query.after).lines[: query.limit]
    return LogPage(
        lines=[LogLineDocument.of(line) for line in lines],
        last_seq=lines[-1][0] if lines else query.after,
        task_has_ended=has_ended,
    )
