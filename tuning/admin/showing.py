"""Values as they are read in the admin, links between its lists, and lists that are only read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from tuning.models import Task
from tuning.templatetags.show import NOTHING, pretty

LARGE_OF_EXPERIMENT = (
    "log_tail",
    "environment",
    "command",
    "parameters",
    "slo_verdicts",
    "failure_message",
)
"""What a list that only names an experiment leaves in the database."""

Row = TypeVar("Row", bound=Model)

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as ModelAdmin
else:

    class ModelAdmin(admin.ModelAdmin):
        """Django's own, which is generic for type checkers alone."""

        def __class_getitem__(cls, model: object) -> type[Self]:
            return cls


def as_json(value: Any) -> SafeString | str:
    """Indented and wrapped."""
    return format_html('<pre class="readable">{}</pre>', pretty(value)) if value else NOTHING


def as_text(lines: Sequence[str]) -> SafeString | str:
    return format_html('<pre class="readable">{}</pre>', "\n".join(lines)) if lines else NOTHING


def seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} s"


def page_link(text: str, view: str, *arguments: Any) -> SafeString:
    """A link to a page of the site or of the admin."""
    return format_html('<a href="{}">{}</a>', reverse(view, args=arguments), text)


def joined(links: Iterable[SafeString]) -> SafeString:
    return format_html_join(" · ", "{}", ((link,) for link in links))


def list_link(text: str, model: str, **filters: Any) -> SafeString:
    """A link to an admin list that is narrowed down."""
    address = reverse(f"admin:tuning_{model}_changelist")
    return format_html('<a href="{}?{}">{}</a>', address, urlencode(filters), text)


def is_number(text: str) -> bool:
    """Whether it may be the number of a row: databases refuse what 8 bytes don't hold."""
    return text.isascii() and text.isdigit() and len(text) < 19


class OnlyOf(admin.SimpleListFilter):
    """What a link has narrowed a list down to. Shown only then, to be taken back."""

    lookup: ClassVar[str]

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        number = self.value()
        return [(number, number)] if number else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Row]) -> QuerySet[Row]:
        number = self.value()
        if number is None:
            return queryset
        if not is_number(number):
            return queryset.none()
        return queryset.filter(**{self.lookup: int(number)})


class LeanList(ChangeList):
    """A list that leaves the large columns it does not show in the database."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        return rows.defer(*getattr(self.model_admin, "not_listed", ()))


class LookOnly(ModelAdmin[Row]):
    """Made by the autotuner alone: nobody adds, changes or deletes it here."""

    not_listed: ClassVar[Sequence[str]] = ()
    task_lookup: ClassVar[str] = ""
    """From a row to the number of its task; the search box then finds tasks."""
    # A second count, of the whole table, would only tell how many the filter hides.
    show_full_result_count = False
    # A count for each choice of each filter would be a look at the whole table again.
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 25
    # Beyond this there is no link to see all rows on one page.
    list_max_show_all = 200

    class Media:
        css: ClassVar = {"all": ["css/admin.css"]}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LeanList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Row], search_term: str
    ) -> tuple[QuerySet[Row], bool]:
        """Through the tasks, of which there are few: Django's own way compares every row as text,
        which takes seconds where there are many."""
        term = search_term.strip()
        if not self.task_lookup or not term:
            return super().get_search_results(request, queryset, search_term)
        wanted = Q(name__icontains=term)
        if is_number(term):
            wanted |= Q(pk=int(term))
        tasks = Task.objects.filter(wanted).order_by().values("pk")
        return queryset.filter(**{f"{self.task_lookup}__in": tasks}), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False
