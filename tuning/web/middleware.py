"""What htmx requests need beside what pages need."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url


def sign_in_as_a_page(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Make a fragment that needs a sign-in lead the whole page there.

    Otherwise htmx would follow the redirect and put the sign-in page into the fragment.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        login = resolve_url(settings.LOGIN_URL)
        is_fragment = request.headers.get("HX-Request") == "true"
        if is_fragment and response.status_code == 302 and _path(response) == login:
            page = urlsplit(request.headers.get("HX-Current-URL", ""))
            where = page.path + (f"?{page.query}" if page.query else "")
            redirect = HttpResponse(status=204)
            redirect["HX-Redirect"] = f"{login}?{urlencode({'next': where})}"
            return redirect
        return response

    return middleware


def _path(response: HttpResponse) -> str:
    return urlsplit(response["Location"]).path
