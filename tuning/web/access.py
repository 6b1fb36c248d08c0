"""The request of a signed-in user, and pages that are for staff alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django_htmx.middleware import HtmxDetails

from tuning.access import SignedInRequest

Arguments = ParamSpec("Arguments")


class Request(SignedInRequest):
    """With what htmx says of itself."""

    htmx: HtmxDetails


def staff_only(
    view: Callable[Concatenate[Request, Arguments], HttpResponse],
) -> Callable[Concatenate[Request, Arguments], HttpResponse]:
    """For pages about the host, which show more than a user's own tasks."""

    @wraps(view)
    def checked(
        request: Request, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> HttpResponse:
        if not request.user.is_staff:
            raise PermissionDenied("Only staff may see this: it is about the whole installation.")
        return view(request, *args, **kwargs)

    return cast(Callable[Concatenate[Request, Arguments], HttpResponse], checked)
