"""Not written yet."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from tuning.web.access import Request


def new_task(request: Request, **kwargs: Any) -> HttpResponse:
    return HttpResponse("not written yet")


def preview(request: Request, **kwargs: Any) -> HttpResponse:
    return HttpResponse("not written yet")


def edit_task(request: Request, **kwargs: Any) -> HttpResponse:
    return HttpResponse("not written yet")


def import_task(request: Request, **kwargs: Any) -> HttpResponse:
    return HttpResponse("not written yet")
