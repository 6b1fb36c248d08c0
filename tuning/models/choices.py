"""Enums of the domain as choices and constraints of the database."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import Q


def choices_of(enum: type[StrEnum]) -> list[tuple[str, str]]:
    return [(member.value, member.value.replace("_", " ").capitalize()) for member in enum]


def ended_exactly_when(status_is: list[str]) -> Q:
    """Has a `finished_at` with one of these statuses, and none with any other."""
    return Q(status__in=status_is, finished_at__isnull=False) | (
        ~Q(status__in=status_is) & Q(finished_at__isnull=True)
    )


def is_one_of(field: str, enum: type[StrEnum]) -> Q:
    return Q(**{f"{field}__in": [member.value for member in enum]})
