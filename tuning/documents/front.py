"""The Pareto front of a task as JSON."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from tuning.documents.document import Document
from tuning.domain.names import FlagValue
from tuning.fronts import FrontMember


class FrontDocument(Document):
    """A configuration that no other one beats in every objective."""

    number: int = Field(description="Number of its experiment.")
    parameters: dict[str, FlagValue] = Field(description="The engine's flags, without dashes.")
    values: dict[str, float | None] = Field(description="Of each objective, by metric.")
    is_knee: bool = Field(description="Whether it is the suggested compromise.")

    @classmethod
    def of(cls, member: FrontMember) -> Self:
        return cls(
            number=member.experiment.number,
            parameters=member.experiment.parameters,
            values=dict(member.values),
            is_knee=member.is_knee,
        )
