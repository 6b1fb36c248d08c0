"""Enums of the domain as choices and constraints of the database."""

from __future__ import annotations

from enum import StrEnum

from django.db.models import Q


def choices_of(enum: type[StrEnum]) -> list[tuple[str, str]]:
    return [(member.value, member.value.replace("_", " ").capitalize()) for member in enum]


def is_one_of(field: str, enum: type[StrEnum]) -> Q:
    return Q(**{f"{field}__in": [member.value for member in enum]})
