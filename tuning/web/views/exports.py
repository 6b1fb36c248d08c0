"""What can be taken away of a task: files, and the winner ready to deploy."""

from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from tuning.access import visible_task
from tuning.exports import EXPORTS, NoWinner
from tuning.exports.winner import read_winner
from tuning.exports.winner_files import snippets
from tuning.web.access import Request


@require_GET
def winner(request: Request, task_id: int) -> HttpResponse:
    """A fragment for the task's page: the best configuration so far in every form."""
    task = visible_task(request.user, task_id)
    try:
        best = read_winner(task)
    except NoWinner as none:
        return render(request, "tasks/winner.html", {"task": task, "no_winner": str(none)})
    context = {"task": task, "winner": best, "snippets": snippets(best)}
    return render(request, "tasks/winner.html", context)


@require_GET
def export(request: Request, task_id: int, kind: str) -> HttpResponse:
    task = visible_task(request.user, task_id)
    make = EXPORTS.get(kind)
    if make is None:
        raise Http404(f"There is no export {kind!r}; there are {', '.join(EXPORTS)}.")
    try:
        made = make(task)
    except NoWinner as none:
        raise Http404(str(none)) from none
    response = HttpResponse(made.content, content_type=made.content_type)
    disposition = content_disposition_header(True, made.filename)
    response["Content-Disposition"] = disposition or "attachment"
    return response
