"""Says why load points are missing, from what genai-bench left behind."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from controllers.base import LoadPoint
from controllers.genai_bench.output import Redactor
from tuning.domain.failures import Failure, FailureKind

_MAX_POINTS_NAMED = 4
_MAX_MESSAGE_LENGTH = 200
_MAX_REASON_LENGTH = 600


def describe_point(point: LoadPoint, repeats: int) -> str:
    """`D(100,100) at concurrency 4`, and which repeat of it where there are several."""
    where = f"{point.scenario} at concurrency {point.concurrency}"
    if repeats > 1:
        return f"{where}, repeat {point.repeat + 1} of {repeats}"
    # One that was not planned, to be sure of what came out.
    return f"{where}, repeat {point.repeat + 1}" if point.repeat else where


def missing_points(
    missing: Sequence[LoadPoint], repeats: int, how_it_ended: str, reasons: Sequence[str]
) -> Failure:
    """The failure of a benchmark that ended with points still to be measured, or before any was."""
    named = [describe_point(point, repeats) for point in missing[:_MAX_POINTS_NAMED]]
    if len(missing) > _MAX_POINTS_NAMED:
        named.append(f"{len(missing) - _MAX_POINTS_NAMED} more")
    sentences = [
        f"{how_it_ended} without a result for {'; '.join(named) or 'any load point'}",
        *(shortened(reason, _MAX_REASON_LENGTH) for reason in reasons),
    ]
    return Failure(FailureKind.BENCHMARK_FAILED, ". ".join(sentences))


def describe_exit(exit_code: int) -> str:
    """How genai-bench ended, as the start of a sentence."""
    if exit_code < 0:
        return f"genai-bench was killed by {signal.Signals(-exit_code).name}"
    return f"genai-bench ended with exit code {exit_code}"


def describe_failed_requests(files: Iterable[Path], redact: Redactor) -> str | None:
    """The error codes in genai-bench's debug files, how often, and one message for each.

    genai-bench writes such a file when no request of a point succeeded (`cli/cli.py`). A code is
    the HTTP status, and 503 also stands for a refused or broken connection
    (`user/openai_user.py`).
    """
    counts: dict[int, int] = {}
    messages: dict[int, str] = {}
    for request in _failed_requests(files):
        code = request["error_code"]
        counts[code] = counts.get(code, 0) + 1
        # Redacted before it is cut: half a key is still a secret.
        messages.setdefault(code, redact(str(request.get("error_message") or "no message")))
    if not counts:
        return None
    return "Failed requests: " + "; ".join(
        f"{count} x {code} ({shortened(messages[code], _MAX_MESSAGE_LENGTH)})"
        for code, count in counts.items()
    )


def _failed_requests(files: Iterable[Path]) -> Iterable[dict[str, Any]]:
    for file in files:
        try:
            requests = json.loads(file.read_bytes())["individual_request_metrics"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        yield from (request for request in requests if request.get("error_code"))


def shortened(text: str, length: int) -> str:
    """The text on one line, cut to at most `length` characters."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= length else f"{one_line[: length - 1]}…"
