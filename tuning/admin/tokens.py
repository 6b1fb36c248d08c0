"""Tokens of the API. Users make theirs on their own page; here they are only revoked."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from tuning.admin.showing import ModelAdmin
from tuning.models import ApiToken


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin[ApiToken]):
    """The digest is shown nowhere. To delete a token is to revoke it."""

    list_display = ["__str__", "user", "created_at", "expires_at", "last_used_at"]
    list_filter = ["expires_at", "last_used_at", ("user", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["name", "user__username", "ending"]
    search_help_text = "What it is for, whose it is, or its last characters."
    list_select_related = ["user"]
    date_hierarchy = "created_at"
    fields = ["name", "user", "ending", "created_at", "expires_at", "last_used_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False
