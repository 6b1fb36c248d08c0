"""What a task remembers of the earlier ones that its search started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

FOUND_NONE = "No earlier task to learn from was found; the search starts cold."


@dataclass(frozen=True)
class EarlierTask:
    """A task that a search started from.

    `similarity`, from 0 (exclusive) to 1, is the probability with which the search believed at its
    start that the two have anything in common. `experiments` are the numbers of those that it
    learns from.
    """

    task_id: int
    similarity: float
    experiments: tuple[int, ...]

    def as_document(self) -> dict[str, Any]:
        """JSON values that `of_document` reads back."""
        return {
            "task_id": self.task_id,
            "similarity": self.similarity,
            "experiments": list(self.experiments),
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(document["task_id"], document["similarity"], tuple(document["experiments"]))


def in_words(earlier: Sequence[EarlierTask]) -> str:
    """`Started from task 12 (similarity 0.81) and task 9 (0.40).`"""
    if not earlier:
        return FOUND_NONE
    first, *others = earlier
    named = [f"task {first.task_id} (similarity {first.similarity:.2f})"]
    named += [f"task {one.task_id} ({one.similarity:.2f})" for one in others]
    *listed, last = named
    return f"Started from {', '.join(listed)}{' and ' if listed else ''}{last}."
