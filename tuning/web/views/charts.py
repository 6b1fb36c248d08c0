"""The charts of a task, as a fragment of its page."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from tuning.access import visible_task
from tuning.web.access import Request
from tuning.web.charts import charts_of, read_results


@require_safe
def task_charts(request: Request, task_id: int) -> HttpResponse:
    task = visible_task(request.user, task_id)
    context = {"task": task, "charts": charts_of(read_results(task))}
    return render(request, "tasks/charts.html", context)
