"""A page and its fragments are one template."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from tuning.web.access import Request


class SeeOther(HttpResponseRedirect):
    """Whatever the method was, the next page is fetched with GET."""

    status_code = 303


def respond(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    fragments: Collection[str] = (),
    status: int = 200,
) -> HttpResponse:
    """The page; or, for an htmx request, the partial that is called like the request's target.

    Only the partials named in `fragments` are given out by themselves.
    """
    fragment = wanted_fragment(request.htmx, fragments)
    name = template if fragment is None else f"{template}#{fragment}"
    response = render(request, name, dict(context), status=status)
    # The same address has two answers, which the Back button must not confuse.
    response["Vary"] = "HX-Request, HX-Target, Cookie"
    return response


def wanted_fragment(htmx: HtmxDetails, fragments: Collection[str]) -> str | None:
    """Which of the page's fragments the request asks for; None for the whole page."""
    if not htmx or htmx.boosted or htmx.history_restore_request or htmx.target not in fragments:
        return None
    return htmx.target


def go_to(request: Request, address: str) -> HttpResponse:
    """Lead the browser to another page, from a form as well as from an htmx request."""
    if request.htmx:
        return HttpResponseClientRedirect(address)
    return SeeOther(address)
