"""Who asks: a browser by its session, a program by its token. Nobody else gets past the gate."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from ninja.utils import check_csrf

from tuning.api.errors import Refusal, answer_to
from tuning.models.api_token import user_of_token

SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token from the account page.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "Signed in as in a browser; whatever changes something needs the header "
        "X-CSRFToken too.",
    },
}
"""How to show who one is, for the OpenAPI document: either will do."""

View = Callable[..., HttpResponseBase]


def gate(view: View) -> View:
    """Let in who is known, and answer everything else in the shape of the API's errors.

    It stands before every address of the API, so that none can be left open by mistake. Django's
    own checks, which answer with pages, are switched off: `identify` makes up for them.
    """

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            identify(request)
            response = view(request, *args, **kwargs)
            if response.status_code == 405:
                raise _method_not_allowed(request, response)
        except Exception as error:
            return answer_to(request, error)
        return response

    return guarded


def identify(request: HttpRequest) -> None:
    """See to it that `request.user` is the one who asks.

    Raises:
        Refusal: nobody is signed in (401); or another site's page may have sent it (403).
    """
    kind, _, secret = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        user = user_of_token(secret.strip())
        if user is None:
            raise _not_signed_in("The token is unknown, revoked or expired.")
        request.user = user
    elif not request.user.is_authenticated:
        raise _not_signed_in("Sign in, or send a token: Authorization: Bearer …")
    elif check_csrf(request) is not None:
        message = "A session needs the CSRF token for this, in the header X-CSRFToken."
        raise Refusal(403, "csrf_failed", message)


def _not_signed_in(message: str) -> Refusal:
    return Refusal(401, "not_signed_in", message, headers={"WWW-Authenticate": "Bearer"})


def _method_not_allowed(request: HttpRequest, response: HttpResponseBase) -> Refusal:
    allowed = response["Allow"]
    message = f"{request.method} makes no sense here; {allowed} would."
    return Refusal(405, "method_not_allowed", message, headers={"Allow": allowed})
