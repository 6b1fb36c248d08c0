"""What the address of the page asks to compare."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from django.utils.http import urlencode

FEWEST, MOST = 2, 6

_ID = re.compile(r"[0-9]{1,18}", re.ASCII)
"""What fits into the database's integers."""


class Query(Protocol):
    """What is needed of a QueryDict."""

    def getlist(self, key: str) -> Sequence[str]: ...


class Kind(StrEnum):
    TASK = "task"
    EXPERIMENT = "experiment"


@dataclass(frozen=True)
class Selection:
    """`ids` without repeats, at most `MOST`. Of one that can't be compared, `problem` says why;
    `is_wrong` when it asks for what can never be, and not only for too few."""

    kind: Kind
    ids: tuple[int, ...]
    problem: str = ""
    is_wrong: bool = False

    def without(self, one: int) -> str:
        """The address, relative to the page's, that compares the others."""
        return self._address([chosen for chosen in self.ids if chosen != one])

    def with_another(self, one: int) -> str:
        return self._address([*self.ids, one])

    def _address(self, ids: Sequence[int]) -> str:
        return "?" + urlencode([(self.kind.value, one) for one in ids])


def read_selection(query: Query) -> Selection:
    """From `?task=1&task=2` or `?experiment=3&experiment=9`."""
    asked = {kind: query.getlist(kind.value) for kind in Kind}
    if all(asked.values()):
        return Selection(
            Kind.TASK, (), "Compare either tasks or experiments, not both.", is_wrong=True
        )
    kind = Kind.EXPERIMENT if asked[Kind.EXPERIMENT] else Kind.TASK
    return _selection(kind, asked[kind])


def _selection(kind: Kind, values: Sequence[str]) -> Selection:
    ids = tuple(dict.fromkeys(int(value) for value in values if _ID.fullmatch(value)))
    unreadable = [value for value in values if not _ID.fullmatch(value)]
    if unreadable:
        problem = f"“{unreadable[0][:40]}” is no number of {_a(kind)}."
        return Selection(kind, ids[:MOST], problem, is_wrong=True)
    if len(ids) > MOST:
        problem = f"At most {MOST} {kind}s can be compared; {len(ids)} were asked for."
        return Selection(kind, ids[:MOST], problem, is_wrong=True)
    if len(ids) < FEWEST:
        return Selection(kind, ids, _too_few(kind, len(ids)))
    return Selection(kind, ids)


def _too_few(kind: Kind, count: int) -> str:
    if count:
        return f"Choose at least one more {kind}, and at most {MOST - count}."
    return f"Choose {FEWEST} to {MOST} {kind}s."


def _a(kind: Kind) -> str:
    return "an experiment" if kind is Kind.EXPERIMENT else "a task"
