"""The page of tasks, and what is done to several of them at once."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import push_url

from tuning.actions import TaskAction
from tuning.models import Task
from tuning.task_rows import read_rows
from tuning.web.access import Request
from tuning.web.render import go_to, respond
from tuning.web.task_bulk import (
    BULK_ACTIONS,
    COMPARE,
    BulkReport,
    act_on_all,
    plan_delete,
    task_ids_of,
    why_not_compare,
)
from tuning.web.task_filters import TaskFilters, headings, status_chips

TEMPLATE = "tasks/list.html"
TASKS_A_PAGE = 25


@require_GET
def task_list(request: Request) -> HttpResponse:
    context = _context(request, request.GET)
    response = respond(request, TEMPLATE, context, fragments=["tasks"])
    address = context["address"]
    if request.htmx and request.htmx.current_url_abs_path != address:
        return push_url(response, address)
    return response


@require_POST
def bulk(request: Request, action: str) -> HttpResponse:
    """Act on the ticked tasks and show the list again, with a report."""
    if action not in (*BULK_ACTIONS, COMPARE):
        raise Http404(f"Nothing called {action!r} can be done to several tasks.")
    task_ids = task_ids_of(request.POST.getlist("task"))
    if action == COMPARE:
        return _compare(request, task_ids)
    if not task_ids:
        return _show(request, report=BulkReport(refused=["Tick at least one task first."]))
    if action == TaskAction.DELETE and "confirmed" not in request.POST:
        return _show(request, delete_plan=plan_delete(request.user, task_ids))
    return _show(request, report=act_on_all(request.user, TaskAction(action), task_ids))


def _compare(request: Request, task_ids: list[int]) -> HttpResponse:
    refusal = why_not_compare(task_ids)
    if refusal:
        return _show(request, report=BulkReport(refused=[refusal]))
    query = urlencode([("task", task_id) for task_id in task_ids])
    return go_to(request, f"{reverse('compare')}?{query}")


def _show(request: Request, **extra: Any) -> HttpResponse:
    """The list as it was, from the query string that the form brought along."""
    context = _context(request, QueryDict(request.POST.get("query", ""))) | extra
    return respond(request, TEMPLATE, context, fragments=["tasks", "confirm-delete"])


def _context(request: Request, query: QueryDict) -> dict[str, Any]:
    tasks = Task.objects.visible_to(request.user)
    filters = TaskFilters(query, request.user)
    chips = status_chips(filters, tasks)
    chosen = filters.order(filters.narrow(tasks)).values_list("pk", flat=True)
    page = Paginator(chosen, TASKS_A_PAGE).get_page(query.get("page"))
    may_see_others = "owner" in filters.fields
    return {
        "section": "tasks",
        "filters": filters,
        "query": filters.query(page=_page(page.number)),
        "address": filters.address(page=_page(page.number)),
        "chips": chips,
        "headings": headings(filters, with_owner=may_see_others),
        "rows": read_rows(list(page)),
        "page": page,
        "previous": filters.address(page=_page(page.number - 1)),
        "next": filters.address(page=_page(page.number + 1)),
    }


def _page(number: int) -> str:
    return str(number) if number > 1 else ""
