"""How often a task measures what it has measured before: `benchmark.repeats` and
`optimization.verification`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, Strict, WithJsonSchema

from tuning.domain.verdict import FEWEST_ROUNDS

AUTO: Literal["auto"] = "auto"
"""Repeats that are spent on those configurations alone that may still be the best."""

MOST_REPEATS_OF_A_POINT = 1_000
MOST_ROUNDS = 20


def _repeats(value: object) -> Any:
    if value == AUTO:
        return AUTO
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 1 <= int(str(value)) <= MOST_REPEATS_OF_A_POINT:
        raise ValueError(f'must be a whole number from 1 to {MOST_REPEATS_OF_A_POINT}, or "auto"')
    return value


def _rounds(rounds: int) -> int:
    if 0 < rounds < FEWEST_ROUNDS:
        raise ValueError(
            f"must be 0 to leave it out, or at least {FEWEST_ROUNDS}: a single round has no "
            "confidence interval"
        )
    return rounds


Repeats = Annotated[
    int | Literal["auto"],
    PlainValidator(_repeats),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_REPEATS_OF_A_POINT},
                {"type": "string", "const": AUTO},
            ]
        }
    ),
]
Rounds = Annotated[int, Strict(), Field(ge=0, le=MOST_ROUNDS), AfterValidator(_rounds)]
