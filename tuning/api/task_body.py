"""A task document in the body of a request, read as the command line reads a task file."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from tuning.api.errors import Refusal
from tuning.domain.spec import InvalidTask, TaskSpec, parse_task
from tuning.domain.spec_document import MAX_BYTES, load_document
from tuning.flag_findings import with_right_flags

TASK_SCHEMA = "TaskSpec"
"""Name of the task document's schema in the OpenAPI document."""

TASK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{TASK_SCHEMA}"}}
        },
    }
}
"""For `openapi_extra`. Ninja's own parser would let repeated keys and NaN through."""


def body_of(request: HttpRequest) -> bytes:
    """Raises Refusal (413) for what is too large for a task document."""
    if len(request.body) > MAX_BYTES:
        raise Refusal(413, "too_large", f"The body is larger than {MAX_BYTES:,} bytes.")
    return request.body


def task_of(request: HttpRequest) -> TaskSpec:
    """The task that the body asks for.

    Raises:
        Refusal: the body is too large (413), or not one JSON object (400).
        InvalidTask: it is, with everything that is wrong with it.
    """
    body = body_of(request)
    try:
        document = load_document(body)
    except InvalidTask as invalid:
        message = "The body is not a JSON object."
        raise Refusal(400, "bad_json", message, invalid.problems) from None
    return with_right_flags(parse_task(document))
