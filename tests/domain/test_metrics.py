"""Metric names: complete, with a unit and a direction, and suggested when mistyped."""

from __future__ import annotations

import pytest

from tuning.domain.metrics import ALL_METRIC_NAMES, METRICS, Direction
from tuning.domain.spelling import nearest


def test_every_latency_has_every_statistic_in_seconds() -> None:
    latencies = [name for name in ALL_METRIC_NAMES if name.endswith("_s") and "_per_s" not in name]
    assert len(latencies) == 4 * 10
    assert {METRICS[name].unit for name in latencies} == {"s"}
    assert {METRICS[name].direction for name in latencies} == {Direction.MINIMIZE}


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("ttft_p99_s", Direction.MINIMIZE),
        ("e2e_latency_mean_s", Direction.MINIMIZE),
        ("output_latency_stddev_s", Direction.MINIMIZE),
        ("output_throughput_tokens_per_s", Direction.MAXIMIZE),
        ("requests_per_s", Direction.MAXIMIZE),
        ("error_rate", Direction.MINIMIZE),
        ("mean_output_tokens", None),
    ],
)
def test_a_metric_gets_better_in_its_natural_direction(
    name: str, direction: Direction | None
) -> None:
    assert METRICS[name].direction is direction


def test_every_metric_is_filed_under_its_own_name() -> None:
    assert all(metric.name == name and metric.description for name, metric in METRICS.items())


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [("ttft_p99", "ttft_p99_s"), ("TTFT_P99_S", "ttft_p99_s"), ("zzzzzz", None)],
)
def test_a_mistyped_name_is_recognised(mistyped: str, meant: str | None) -> None:
    assert nearest(mistyped, METRICS) == meant


def test_prefers_is_strict_in_both_directions() -> None:
    assert Direction.MINIMIZE.prefers(1.0, 2.0)
    assert not Direction.MINIMIZE.prefers(1.0, 1.0)
    assert Direction.MAXIMIZE.prefers(2.0, 1.0)
    assert not Direction.MAXIMIZE.prefers(2.0, 2.0)
