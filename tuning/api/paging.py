"""Long lists come in pages."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from django.db.models import QuerySet
from pydantic import Field

from tuning.documents.document import Document

Item = TypeVar("Item")

MAX_PAGE = 1_000_000


class PageQuery(Document):
    """Which part of a list is wanted."""

    page: int = Field(default=1, ge=1, le=MAX_PAGE, description="Counts from 1.")
    page_size: int = Field(default=50, ge=1, le=200, description="Items of a page.")

    def part_of(self, rows: QuerySet[Any, Item]) -> list[Item]:
        """Empty beyond the last page."""
        start = (self.page - 1) * self.page_size
        return list(rows[start : start + self.page_size])


class Page(Document, Generic[Item]):
    """A part of a list. `total` counts the items of all pages."""

    items: list[Item]
    total: int
    page: int
    page_size: int
