"""The log of a task: the viewer, the older lines that it loads, and the whole as a text file."""

from __future__ import annotations

import re

from django import forms
from django.conf import settings
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from tuning.access import visible_task
from tuning.domain.names import LogSource
from tuning.exports import filename
from tuning.models import Task
from tuning.web.access import Request
from tuning.web.log_lines import LONGEST_STRETCH, last_line, read_lines, text_of_log


class StretchForm(forms.Form):
    """Which lines are wanted, by number, both ends included."""

    first = forms.IntegerField(min_value=1)
    last = forms.IntegerField(min_value=1)


@require_GET
def task_log(request: Request, task_id: int) -> HttpResponse:
    """`?source=engine` begins with that stream alone, `?experiment=3` at that experiment."""
    task = visible_task(request.user, task_id)
    wanted = set(request.GET.getlist("source")) & set(LogSource) or set(LogSource)
    context = {
        "task": task,
        "section": "tasks",
        "sources": [{"name": source.value, "is_on": source in wanted} for source in LogSource],
        "last": last_line(task),
        "from_time": _start_of(task, request.GET.get("experiment", "")),
        "retention_days": settings.AUTOTUNER_LOG_RETENTION_DAYS,
    }
    return render(request, "tasks/log.html", context)


@require_GET
def lines(request: Request, task_id: int) -> HttpResponse:
    """`?first=1&last=10000`: `{"lines": [[number, unix time, source, text], …]}`."""
    task = visible_task(request.user, task_id)
    form = StretchForm(request.GET)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    first = form.cleaned_data["first"]
    last = min(form.cleaned_data["last"], first + LONGEST_STRETCH - 1)
    return JsonResponse({"lines": read_lines(task, first, last)})


@require_GET
def download(request: Request, task_id: int) -> HttpResponseBase:
    task = visible_task(request.user, task_id)
    response = StreamingHttpResponse(text_of_log(task), content_type="text/plain; charset=utf-8")
    disposition = content_disposition_header(True, filename(task, "log", "txt"))
    response["Content-Disposition"] = disposition or "attachment"
    return response


def _start_of(task: Task, number: str) -> str:
    """When the experiment of that number began, in unix seconds; empty if it did not."""
    if not re.fullmatch(r"[0-9]{1,9}", number):
        return ""
    begun = task.experiments.filter(number=number).values_list("started_at", flat=True).first()
    return f"{begun.timestamp():.3f}" if begun else ""
