"""What programs print for a terminal, as plain text."""

from __future__ import annotations

import re

LONGEST_LINE = 4_000
"""Characters of a line that are shown."""

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours and moves of the cursor
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|[@-Z\\^_]|[ -/]+[0-~])"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def plain_line(text: str) -> str:
    """One line as it would stand on a terminal in the end, without its colours.

    A progress bar prints over itself: only what it printed last is left.
    """
    text = text.rstrip("\r\n")
    last = text.rpartition("\r")[2]
    return _CONTROL.sub("", _ESCAPE.sub("", last))[:LONGEST_LINE]
