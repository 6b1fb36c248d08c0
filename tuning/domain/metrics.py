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
OUTPUT_THROUGHPUT = "output_throughput_tokens_per_s"
GPU_POWER = "gpu_power_mean_w"
GOODPUT = "goodput_requests_per_s"
GOODPUT_CONCURRENCY = "goodput_concurrency"

_TOKENS_PER_SECOND = "tokens/s"


def _latency_metrics() -> Iterator[Metric]:
    for family, meaning in LATENCY_FAMILIES.items():
        for statistic in LATENCY_STATISTICS:
            name = latency_name(family, statistic)
            yield Metric(name, "s", f"{meaning}, {statistic}", Direction.MINIMIZE)


_OTHER_METRICS = (
    Metric(
        OUTPUT_THROUGHPUT,
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
    Metric(
        GOODPUT,
        "requests/s",
        "finished requests while every hard limit of the task holds, else 0",
        Direction.MAXIMIZE,
    ),
    Metric(
        GOODPUT_CONCURRENCY,
        "requests",
        "the concurrency while every hard limit of the task holds, else 0",
        Direction.MAXIMIZE,
    ),
    Metric(ERROR_RATE, "", "share of requests that failed, 0 to 1", Direction.MINIMIZE),
    Metric("mean_input_tokens", "tokens", "input tokens of a request, mean", None),
    Metric("mean_output_tokens", "tokens", "output tokens of a request, mean", None),
)

_GPU_METRICS = (
    Metric(
        "output_throughput_per_gpu_tokens_per_s",
        _TOKENS_PER_SECOND,
        "output throughput divided by the engine's GPUs",
        Direction.MAXIMIZE,
    ),
    Metric("energy_per_output_token_j", "J", "energy of an output token", Direction.MINIMIZE),
    Metric(GPU_POWER, "W", "power of the engine's GPUs together, mean", Direction.MINIMIZE),
    Metric(
        "gpu_memory_used_max_mib",
        "MiB",
        "memory in use on the engine's GPUs together, at most",
        Direction.MINIMIZE,
    ),
    Metric("gpu_utilisation_mean_percent", "%", "utilisation of the engine's GPUs, mean", None),
)
"""Of the cards that an engine was given; absent where it had none, or they don't tell."""

METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in (*_latency_metrics(), *_OTHER_METRICS, *_GPU_METRICS)}
)

ALL_METRIC_NAMES: tuple[str, ...] = tuple(METRICS)


def with_gpu_metrics(
    measured: Mapping[str, float], telemetry: Mapping[str, float], gpus: int
) -> dict[str, float]:
    """What was `measured` at a load point, and what follows from `telemetry` of its `gpus` cards.

    Mean power (J/s) over output throughput (tokens/s) is the energy of a token (J): both are means
    over the same time.
    """
    metrics = {**measured, **telemetry}
    throughput = measured.get(OUTPUT_THROUGHPUT)
    if not gpus or throughput is None:
        return metrics
    metrics["output_throughput_per_gpu_tokens_per_s"] = throughput / gpus
    if throughput > 0 and GPU_POWER in telemetry:
        metrics["energy_per_output_token_j"] = telemetry[GPU_POWER] / throughput
    return metrics
