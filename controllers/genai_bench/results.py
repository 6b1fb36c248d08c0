"""Reads genai-bench's result files.

A file holds `aggregated_metrics` and `individual_request_metrics` of one load point; their fields
are those of genai-bench 0.0.5 (`genai_bench/metrics/metrics.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from controllers.base import LoadPoint, PointResult
from tuning.domain.metrics import (
    ERROR_RATE,
    LATENCY_FAMILIES,
    LATENCY_STATISTICS,
    latency_name,
)

THROUGHPUTS = {
    "mean_output_throughput_tokens_per_s": "output_throughput_tokens_per_s",
    "mean_input_throughput_tokens_per_s": "input_throughput_tokens_per_s",
    "mean_total_tokens_throughput_tokens_per_s": "total_throughput_tokens_per_s",
    "requests_per_second": "requests_per_s",
}
"""genai-bench's names for what it counts over the whole point, and ours."""

TOKEN_COUNTS = {
    "num_input_tokens": "mean_input_tokens",
    "num_output_tokens": "mean_output_tokens",
}
"""genai-bench's names for the tokens of one request, and ours for their mean."""


class ResultError(ValueError):
    """A file that is valid JSON but no result of a load point that we understand."""


def parse_result(document: object) -> PointResult:
    """Turn the content of one result file into a result; its point's repeat is left at 0.

    genai-bench calls its statistics by the names that `tuning.domain.metrics` uses.

    Times are in seconds, throughputs in tokens/s and requests/s. What genai-bench has no value for
    is left out, never zero.

    Raises:
        ResultError: another unit than seconds, or a field is missing or of the wrong type.
    """
    document = _mapping(document, "the file")
    unit = document.get("_time_unit")
    if unit != "s":
        raise ResultError(f"times are in {unit!r}, not in seconds")
    aggregated = _mapping(document.get("aggregated_metrics"), "aggregated_metrics")
    failed = _count(aggregated, "num_error_requests")
    requests = _count(aggregated, "num_completed_requests") + failed
    return PointResult(
        point=_point(aggregated),
        metrics=_metrics(aggregated, failed, requests),
        num_requests=requests,
        num_failed_requests=failed,
        duration_s=_duration(aggregated),
        raw=aggregated,
    )


def _point(aggregated: Mapping[str, Any]) -> LoadPoint:
    scenario = aggregated.get("scenario")
    if not isinstance(scenario, str):
        raise ResultError(f"scenario is {scenario!r}")
    # `num_concurrency`, or `batch_size` for embeddings and reranking.
    level = str(aggregated.get("iteration_type", "num_concurrency"))
    return LoadPoint(scenario, _count(aggregated, level))


def _metrics(aggregated: Mapping[str, Any], failed: int, requests: int) -> dict[str, float]:
    stats = _mapping(aggregated.get("stats"), "stats")
    candidates = {
        latency_name(family, statistic): _statistic(stats, family, statistic)
        for family in LATENCY_FAMILIES
        for statistic in LATENCY_STATISTICS
    }
    candidates |= {ours: _number(aggregated.get(theirs)) for theirs, ours in THROUGHPUTS.items()}
    candidates |= {ours: _statistic(stats, theirs, "mean") for theirs, ours in TOKEN_COUNTS.items()}
    # genai-bench 0.0.5 divides by a count that it sets only afterwards: its own rate is always 0.
    candidates[ERROR_RATE] = failed / requests if requests else None
    return {name: value for name, value in candidates.items() if value is not None}


def _statistic(stats: Mapping[str, Any], field: str, statistic: str) -> float | None:
    values = stats.get(field)
    return _number(values.get(statistic)) if isinstance(values, Mapping) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _duration(aggregated: Mapping[str, Any]) -> float:
    duration = _number(aggregated.get("run_duration"))
    if duration is None:
        raise ResultError(f"run_duration is {aggregated.get('run_duration')!r}")
    return duration


def _count(aggregated: Mapping[str, Any], field: str) -> int:
    value = aggregated.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ResultError(f"{field} is {value!r}")
    return value


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ResultError(f"{name} holds no object")
    return value
