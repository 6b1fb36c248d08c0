"""What is the same on every page of the admin: its name, and the way in."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

admin.site.site_header = "Autotuner admin"
admin.site.site_title = "Autotuner admin"
admin.site.index_title = "Tasks, results and accounts"


@never_cache
@login_not_required
def sign_in(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """The site's own page for signing in.

    Raises PermissionDenied for those who are signed in and still have no business here: to ask
    them for a password again would lead nowhere.
    """
    if request.user.is_authenticated and not admin.site.has_permission(request):
        raise PermissionDenied("Only staff may use the admin.")
    return redirect_to_login(request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index"))


admin.site.login = sign_in  # type: ignore[method-assign]
