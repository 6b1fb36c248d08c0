"""The dashboard: what needs attention, what runs, what waits, what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from controllers.gpus import host_gpus
from tuning.system.containers import list_containers
from tuning.web.access import Request, staff_only
from tuning.web.attention import host_notices
from tuning.web.dashboard import engine_checks, read_board
from tuning.web.render import respond, wanted_fragment

TEMPLATE = "dashboard.html"

HOST_FRAGMENTS: Mapping[str, Callable[[], Any]] = {
    "host-notices": host_notices,
    "engines": engine_checks,
    "gpus": host_gpus,
    # What each uses of the host would take a second to measure.
    "containers": partial(list_containers, measured=False),
}
"""Parts about the host. Some take seconds, so that the page asks for them once it is there."""


@require_GET
def dashboard(request: Request) -> HttpResponse:
    if wanted_fragment(request.htmx, HOST_FRAGMENTS):
        return _host_fragment(request)
    return respond(request, TEMPLATE, {"board": read_board(request.user)}, fragments=["board"])


@staff_only
def _host_fragment(request: Request) -> HttpResponse:
    name = str(request.htmx.target)
    return respond(request, TEMPLATE, {"found": HOST_FRAGMENTS[name]()}, fragments=[name])
