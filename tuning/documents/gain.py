"""How much better the best is, and how sure that is, as JSON."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from tuning import formatting
from tuning.documents.document import Document
from tuning.domain.verdict import Finding, GainVerdict, Reference


class GainDocument(Document):
    """What verification says of the winner, by one objective."""

    metric: str = Field(description="The objective's metric.")
    finding: Finding = Field(
        description="Whether winner and reference, launched again in turn, differ."
    )
    number: int | None = Field(description="Number of the experiment that won the search.")
    against: Reference = Field(description="What it is compared with.")
    against_number: int | None = Field(description="Number of that experiment.")
    gain: float | None = Field(description="How much better the winner is: 0.25 for 25 %.")
    low: float | None = Field(
        description="Lower end of the 95 % confidence interval of the gain; null without one."
    )
    high: float | None = Field(description="Upper end of that interval.")
    noise_cv: float | None = Field(
        description="Coefficient of variation of a single measurement, as the rounds show it."
    )
    rounds: int = Field(description="Rounds in which both were measured.")
    failed_requests: int = Field(description="Of all measurements of the winner.")
    reason: str = Field(description="What else there is to know; may be empty.")
    text: str = Field(description="All of it in words.")

    @classmethod
    def of(cls, verdict: GainVerdict) -> Self:
        return cls(**verdict.as_document(), text=formatting.verdict(verdict))
