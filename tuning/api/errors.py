"""What the API answers when it can't do what was asked: one shape for every status."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from django.core.exceptions import (
    BadRequest,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import RawPostDataException, UnreadablePostError
from ninja.errors import ValidationError
from pydantic import Field

from tuning.actions import ActionRefused
from tuning.documents.document import Document
from tuning.domain.spec import InvalidTask, Problem

logger = logging.getLogger(__name__)

_UNREADABLE = (
    BadRequest,
    SuspiciousOperation,
    MultiPartParserError,
    RawPostDataException,
    UnreadablePostError,
)
"""What Django raises for a request that it can't read."""


class ProblemDocument(Document):
    """One thing to put right."""

    path: str = Field(
        description="Where it stands: `parameters.tp-size[1]` in a task document, the same as on "
        "the command line; `query.page` for a parameter; empty for the whole document."
    )
    message: str = Field(description="What would be right.")
    value: str | None = Field(
        description="What stands there, as JSON and shortened; null when nothing does."
    )


class ErrorBody(Document):
    """Why the request was refused."""

    code: str = Field(description="For programs; never changes.", examples=["invalid_task"])
    message: str = Field(description="For people, in one sentence.")
    problems: list[ProblemDocument] = Field(
        description="All that is wrong with what was sent; empty when it was not the reason."
    )


class ErrorDocument(Document):
    """Every answer with a status of 400 or more."""

    error: ErrorBody


class Refusal(Exception):
    """Ends a request with this status; `headers` are added to the answer."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        problems: Iterable[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.problems = tuple(problems)
        self.headers = headers or {}

    def response(self) -> HttpResponse:
        problems = [ProblemDocument.model_validate(problem) for problem in self.problems]
        body = ErrorBody(code=self.code, message=str(self), problems=problems)
        return HttpResponse(
            ErrorDocument(error=body).model_dump_json(),
            status=self.status,
            content_type="application/json",
            headers=dict(self.headers),
        )


class InvalidParameters(ValidationError):
    """Parameters of the address or of the header make no sense."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        super().__init__([])
        self.problems = tuple(problems)


def errors(*statuses: int) -> dict[int, type[ErrorDocument]]:
    """For an operation's `response=`: what it refuses beside what every operation does."""
    return dict.fromkeys(statuses, ErrorDocument)


def answer_to(request: HttpRequest, error: Exception) -> HttpResponse:
    return _refusal(request, error).response()


def _refusal(request: HttpRequest, error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case InvalidTask():
            return Refusal(422, "invalid_task", _counted(error), error.problems)
        case InvalidParameters():
            message = "The request's parameters make no sense."
            return Refusal(422, "invalid_parameters", message, error.problems)
        case ActionRefused():
            return Refusal(409, "conflict", str(error))
        case PermissionDenied():
            return Refusal(403, "forbidden", str(error))
        case Http404() | ObjectDoesNotExist():
            return Refusal(404, "not_found", str(error))
        case RequestDataTooBig():
            return Refusal(413, "too_large", "The body is too large.")
        case _ if isinstance(error, _UNREADABLE):
            return Refusal(400, "bad_request", "That request makes no sense.")
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return Refusal(
        500, "internal_error", "Something broke on our side; the server's log says what."
    )


def _counted(invalid: InvalidTask) -> str:
    count = len(invalid.problems)
    return f"The task document has {count} problem{'s' if count != 1 else ''}."
