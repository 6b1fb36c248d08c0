"""What all documents have in common: how they are read, and how they spell times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema


def spelled(moment: datetime) -> str:
    """`2026-01-31T12:00:00.123456+00:00`"""
    return moment.astimezone(UTC).isoformat()


# Pydantic and Django's JSON encoder would each spell it in their own way.
Moment = Annotated[
    datetime,
    PlainSerializer(spelled, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Document(BaseModel):
    """A part of a document; may be read from the attributes of a row or a value."""

    model_config = ConfigDict(from_attributes=True, frozen=True)
