"""Suggestions for words that a user may have mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CUTOFF = 0.6


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, or None when none is alike enough to be meant."""
    by_lower_case = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=_CUTOFF)
    return by_lower_case[close[0]] if close else None


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean "x"?` to be put behind an error message, or nothing."""
    close = nearest(word, candidates)
    return f'; did you mean "{close}"?' if close else ""
