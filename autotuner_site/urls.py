"""The site's addresses."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from tuning.api.routes import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("tuning.web.urls")),
    path("admin/", admin.site.urls),
    # The API asks for a session or a token by itself, and answers 401 instead of a redirect.
    path("api/", api.urls),
]

handler400 = "tuning.web.views.errors.bad_request"
handler403 = "tuning.web.views.errors.forbidden"
handler404 = "tuning.web.views.errors.not_found"
handler500 = "tuning.web.views.errors.server_error"
