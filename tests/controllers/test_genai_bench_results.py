"""Reading genai-bench's result files; the sample is a real one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from controllers.base import LoadPoint
from controllers.genai_bench.results import ResultError, parse_result
from tuning.domain.goodput import GOODPUT_METRICS
from tuning.domain.metrics import ALL_METRIC_NAMES

SAMPLE = Path(__file__).with_name("data") / "genai_bench_result.json"


@pytest.fixture
def document() -> Any:
    return copy.deepcopy(json.loads(SAMPLE.read_text(encoding="utf-8")))


def test_the_point_is_read_from_the_content(document: Any) -> None:
    result = parse_result(document)
    assert result.point == LoadPoint("D(16,8)", 1, repeat=0)
    assert (result.num_requests, result.num_failed_requests) == (2, 0)
    assert result.duration_s == pytest.approx(1.1077, abs=1e-4)
    assert result.raw == document["aggregated_metrics"]


def test_a_complete_file_gives_every_metric_of_the_domain_and_no_other(document: Any) -> None:
    of_the_gpus = {name for name in ALL_METRIC_NAMES if "gpu" in name or "energy" in name}
    of_the_limits = of_the_gpus | GOODPUT_METRICS
    assert set(parse_result(document).metrics) == set(ALL_METRIC_NAMES) - of_the_limits


def test_values_are_taken_over_as_they_are(document: Any) -> None:
    aggregated = document["aggregated_metrics"]
    metrics = parse_result(document).metrics
    assert metrics["ttft_p99_s"] == aggregated["stats"]["ttft"]["p99"]
    assert metrics["e2e_latency_mean_s"] == aggregated["stats"]["e2e_latency"]["mean"]
    assert (
        metrics["output_throughput_tokens_per_s"]
        == aggregated["mean_output_throughput_tokens_per_s"]
    )
    assert metrics["requests_per_s"] == aggregated["requests_per_second"]
    assert metrics["mean_output_tokens"] == 8


def test_the_error_rate_is_computed_from_the_counts(document: Any) -> None:
    """genai-bench writes 0 whatever happened."""
    document["aggregated_metrics"] |= {"num_completed_requests": 3, "num_error_requests": 1}
    result = parse_result(document)
    assert result.metrics["error_rate"] == 0.25
    assert (result.num_requests, result.num_failed_requests) == (4, 1)


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf"), "0.1", True])
def test_what_has_no_value_is_left_out(document: Any, nothing: object) -> None:
    document["aggregated_metrics"]["stats"]["tpot"]["p99"] = nothing
    document["aggregated_metrics"]["requests_per_second"] = nothing
    del document["aggregated_metrics"]["stats"]["output_latency"]
    metrics = parse_result(document).metrics
    assert not {"tpot_p99_s", "requests_per_s", "output_latency_mean_s"} & metrics.keys()
    assert "tpot_p95_s" in metrics


def test_a_batch_size_stands_for_the_concurrency_of_embeddings(document: Any) -> None:
    document["aggregated_metrics"] |= {
        "scenario": "E(64)",
        "iteration_type": "batch_size",
        "batch_size": 8,
    }
    assert parse_result(document).point == LoadPoint("E(64)", 8)


@pytest.mark.parametrize("unit", ["ms", None])
def test_other_units_than_seconds_are_refused(document: Any, unit: str | None) -> None:
    document["_time_unit"] = unit
    with pytest.raises(ResultError, match="not in seconds"):
        parse_result(document)


@pytest.mark.parametrize(
    "field", ["scenario", "num_concurrency", "run_duration", "num_error_requests", "stats"]
)
def test_a_file_without_an_essential_field_is_refused(document: Any, field: str) -> None:
    del document["aggregated_metrics"][field]
    with pytest.raises(ResultError, match=field):
        parse_result(document)


@pytest.mark.parametrize("content", [[], "text", None, {}, {"_time_unit": "s"}])
def test_other_json_is_refused(content: object) -> None:
    with pytest.raises(ResultError):
        parse_result(content)
