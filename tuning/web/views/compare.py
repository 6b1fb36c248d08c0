"""Tasks or experiments side by side."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tuning.web.access import Request
from tuning.web.compare.page import ComparePage


@require_safe
def compare(request: Request) -> HttpResponse:
    page = ComparePage(request.user, request.GET)
    context = {"page": page, "section": "tasks"}
    status = 400 if page.selection.is_wrong else 200
    return render(request, "compare.html", context, status=status)
