"""The metrics that a benchmark reports for one load point, and how to read them.

Each name ends in its unit where it has one: `ttft_p99_s` is in seconds,
`output_throughput_tokens_per_s` in tokens per second. Percentiles and means are taken over the
requests of the load point that succeeded, as genai-bench's `aggregated_metrics.stats` has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Direction(StrEnum):
    """Which way a metric gets better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    def prefers(self, left: float, right: float) -> bool:
        """True when `left` is strictly better than `right`."""
        return left < right if self is Direction.MINIMIZE else left > right


@dataclass(frozen=True)
class Metric:
    """One metric.

    `direction` is the natural one, and None where neither more nor less is better in itself.
    """

    name: str
    unit: str
    description: str
    direction: Direction | None


LATENCY_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "ttft": "time to the first token",
        "tpot": "time per output token after the first",
        "e2e_latency": "time from sending a request to its last token",
        "output_latency": "time from the first to the last token",
    }
)

LATENCY_STATISTICS = ("mean", "stddev", "min", "max", "p25", "p50", "p75", "p90", "p95", "p99")


def latency_name(family: str, statistic: str) -> str:
    """The metric's name, e.g. `ttft_p99_s`."""
    return f"{family}_{statistic}_s"


ERROR_RATE = "error_rate"

_TOKENS_PER_SECOND = "tokens/s"


def _latency_metrics() -> Iterator[Metric]:
    for family, meaning in LATENCY_FAMILIES.items():
        for statistic in LATENCY_STATISTICS:
            name = latency_name(family, statistic)
            yield Metric(name, "s", f"{meaning}, {statistic}", Direction.MINIMIZE)


_OTHER_METRICS = (
    Metric(
        "output_throughput_tokens_per_s",
        _TOKENS_PER_SECOND,
        "output tokens of all requests together",
        Direction.MAXIMIZE,
    ),
    Metric(
        "input_throughput_tokens_per_s",
        _TOKENS_PER_SECOND,
        "input tokens of all requests together",
        Direction.MAXIMIZE,
    ),
    Metric(
        "total_throughput_tokens_per_s",
        _TOKENS_PER_SECOND,
        "input and output tokens of all requests together",
        Direction.MAXIMIZE,
    ),
    Metric("requests_per_s", "requests/s", "finished requests", Direction.MAXIMIZE),
    Metric(ERROR_RATE, "", "share of requests that failed, 0 to 1", Direction.MINIMIZE),
    Metric("mean_input_tokens", "tokens", "input tokens of a request, mean", None),
    Metric("mean_output_tokens", "tokens", "output tokens of a request, mean", None),
)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in (*_latency_metrics(), *_OTHER_METRICS)}
)

ALL_METRIC_NAMES: tuple[str, ...] = tuple(METRICS)
