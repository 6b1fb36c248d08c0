"""What a user sees when something can't be shown: a page, or a message beside a fragment."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import requires_csrf_token


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, 400, "That request makes no sense", exception)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, 403, "That is not for you", exception)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _answer(request, 404, "There is nothing here", exception)


def server_error(request: HttpRequest) -> HttpResponse:
    return _answer(request, 500, "Something broke on our side", None)


@requires_csrf_token
def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(
        request, 403, "This page is too old", Exception("Reload it and try again, please.")
    )


def _answer(
    request: HttpRequest, status: int, heading: str, exception: Exception | None
) -> HttpResponse:
    """`X-Problem` is what app.js shows for a fragment; the page around it stays as it is."""
    detail = _sentence(exception)
    if request.headers.get("HX-Request") == "true":
        response = HttpResponse(status=status)
        response["X-Problem"] = detail or f"{heading}."
        return response
    context = {"status": status, "heading": heading, "detail": detail}
    return render(request, "errors/error.html", context, status=status)


def _sentence(exception: Exception | None) -> str:
    """What was said when it was raised; Django's own resolver says nothing for users."""
    argument = exception.args[0] if exception is not None and exception.args else ""
    return " ".join(argument.split()) if isinstance(argument, str) else ""
