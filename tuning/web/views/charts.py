"""Not written yet."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from tuning.web.access import Request


def task_charts(request: Request, **kwargs: Any) -> HttpResponse:
    return HttpResponse("not written yet")
