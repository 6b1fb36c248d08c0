"""What genai-bench prints: secrets hidden, noise left out, and the few lines that tell something.

Results are never read from here, only from its files.
"""

from __future__ import annotations

import json
import re
from collections import deque

_HIDDEN = "***"

_EMPTY_LINE = re.compile(r"NoneType value in metric|genai_bench\.benchmark:benchmark - \w+: None$")
_POINT_STARTS = "Starting benchmark with concurrency="
ASKS = "(asks for a load point)"
"""Said by `launcher.py`, which can't be imported here."""
_REQUEST_FAILED = "Received error response from server."

_EXCEPTION = re.compile(r"^([\w.]+\.)?\w*(Error|Exception|Exit|Abort|Interrupt|Timeout)\w*: \S")
_ERROR_RECORD = re.compile(r"^(ERROR|CRITICAL)\s")
_WARNING_RECORD = re.compile(r"^WARNING\s")
_ANY_LINE = re.compile("")
_RECORD_HEAD = re.compile(r"^[A-Z]+ +\S+ \S+ - [\w.]+:\w+ - ")

_SHOWN_FAILURES_PER_POINT = 3
_MAX_LINE_LENGTH = 4000


class Redactor:
    """Hides one secret, also where JSON has escaped it."""

    def __init__(self, secret: str | None) -> None:
        self._spellings = _spellings(secret) if secret else []

    def __call__(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, _HIDDEN)
        return text


def _spellings(secret: str) -> list[str]:
    as_json = (json.dumps(secret), json.dumps(secret, ensure_ascii=False))
    return sorted({secret, *(quoted[1:-1] for quoted in as_json)}, key=len, reverse=True)


class Output:
    """Follows genai-bench's lines, in the order in which it prints them; for one thread.

    `points_started` counts the load points begun, `points_asked_for` those that it asked for: it
    measures nothing while that is one more than it was told.
    """

    def __init__(self, redact: Redactor) -> None:
        self.points_started = 0
        self.points_asked_for = 0
        self._redact = redact
        self._tail: deque[str] = deque(maxlen=200)
        self._failures_of_point = 0

    def follow(self, line: str) -> list[str]:
        """Take in one line and return those that are worth showing, often just the line itself."""
        if not line.strip() or _EMPTY_LINE.search(line):
            return []
        # Redacted before it is cut: half a key is still a secret.
        line = self._redact(line)[:_MAX_LINE_LENGTH]
        if line == ASKS:
            self.points_asked_for += 1
            return []
        self._tail.append(line)
        if _POINT_STARTS in line:
            self.points_started += 1
            self._failures_of_point = 0
        if _REQUEST_FAILED in line:
            return self._failed_request(line)
        return [line]

    def _failed_request(self, line: str) -> list[str]:
        """The first few of a point: an engine that is gone refuses hundreds a second."""
        self._failures_of_point += 1
        if self._failures_of_point <= _SHOWN_FAILURES_PER_POINT:
            return [line]
        if self._failures_of_point == _SHOWN_FAILURES_PER_POINT + 1:
            return ["(further failed requests of this load point are not shown)"]
        return []

    def most_telling_line(self) -> str | None:
        """Why it ended, as far as its last lines say: the exception, or an error, or a warning.

        Of a Python traceback only the line that starts with the exception's type is wanted, not
        the `Uncaught exception` above it.
        """
        for pattern in (_EXCEPTION, _ERROR_RECORD, _WARNING_RECORD, _ANY_LINE):
            for line in reversed(self._tail):
                if pattern.search(line):
                    return _RECORD_HEAD.sub("", line)
        return None
