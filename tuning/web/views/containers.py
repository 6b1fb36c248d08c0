"""Containers of the docker mode: what there is, what they print, and stopping ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from controllers.docker_engine import LOG_LINES, DockerUnavailable, NoSuchContainer
from tuning.system.containers import (
    container_log as read_log,
)
from tuning.system.containers import (
    find_container,
    list_containers,
    stop_container,
)
from tuning.web.access import Request, staff_only
from tuning.web.container_rows import check_readable, check_stoppable, container_rows
from tuning.web.render import go_to, respond, wanted_fragment

View = Callable[Concatenate[Request, ...], HttpResponse]

LIST = "container-list"


@require_GET
@staff_only
def container_list(request: Request) -> HttpResponse:
    """The page at once; its table, for which a Docker engine is asked, as a fragment after it."""
    context: dict[str, object] = {"section": "containers"}
    if wanted_fragment(request.htmx, [LIST]):
        found = list_containers()
        context |= {"found": found, "rows": container_rows(request.user, found.containers)}
    return respond(request, "containers/list.html", context, fragments=[LIST])


def one_container(view: View) -> View:
    """Without the container there is nothing here; without an engine, the list tells why."""

    @wraps(view)
    def answered(request: Request, name: str) -> HttpResponse:
        try:
            return view(request, name)
        except NoSuchContainer as error:
            raise Http404(str(error)) from error
        except DockerUnavailable:
            return go_to(request, reverse("containers"))

    return answered


@require_GET
@staff_only
@one_container
def container_log(request: Request, name: str) -> HttpResponse:
    container = find_container(name)
    check_readable(request.user, container)
    [row] = container_rows(request.user, [container])
    context = {
        "section": "containers",
        "row": row,
        "lines": read_log(name),
        "at_most": LOG_LINES,
    }
    return respond(request, "containers/log.html", context, fragments=["container-lines"])


@require_POST
@staff_only
@one_container
def stop(request: Request, name: str) -> HttpResponse:
    """Answers once the container is gone, which takes 10 s where the engine ignores the signal."""
    check_stoppable(request.user, find_container(name))
    stop_container(name)
    messages.success(request, f"{name} is stopped and removed.")
    return go_to(request, reverse("containers"))
