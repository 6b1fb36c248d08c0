"""What is recorded of an experiment's measurements."""

from __future__ import annotations

from typing import Any

from tests.domain.task_files import spec_of
from tuning.domain.failures import FailureKind
from tuning.domain.measuring.course import End, EndKind
from tuning.domain.objectives import MeasuredPoint
from tuning.orchestrator.judging import judge_experiment

TWO = {"objective": ["maximize_throughput", "minimize_ttft"]}


def point(failed: int = 0) -> MeasuredPoint:
    measured = {
        "output_throughput_tokens_per_s": 50.0,
        "ttft_mean_s": 0.2,
        "e2e_latency_mean_s": 1.0,
    }
    return MeasuredPoint("D(8,8)", 1, 0, measured, 10, failed)


def judged(*points: MeasuredPoint, **sections: Any) -> Any:
    return judge_experiment(spec_of(**sections), points, End(EndKind.COMPLETE))


def test_each_objective_has_its_value_and_its_score() -> None:
    soft = {"ttft_mean_s": {"max": 0.1, "hard": False, "steepness": 1e6}}
    judgement = judged(point(), optimization=TWO, slo=soft)

    assert judgement.failure is None
    assert judgement.fields["objective_value"] == 50.0
    assert judgement.fields["objective_values"] == {
        "output_throughput_tokens_per_s": 50.0,
        "ttft_mean_s": 0.2,
    }
    # The penalty is about 1, and makes both scores about twice as bad.
    assert round(judgement.fields["score"], 3) == 25.0
    assert round(judgement.fields["objective_scores"]["ttft_mean_s"], 3) == 0.4


def test_failed_requests_are_counted_also_where_they_are_allowed() -> None:
    judgement = judged(point(), point(failed=3), slo={"error_rate": 0.5})

    assert judgement.failure is None
    assert judgement.fields["num_requests"] == 20
    assert judgement.fields["num_failed_requests"] == 3


def test_failed_requests_rule_out_where_nothing_allows_them() -> None:
    judgement = judged(point(failed=1))

    assert judgement.failure is not None
    assert judgement.failure.kind is FailureKind.SLO_VIOLATED
    assert judgement.fields["num_failed_requests"] == 1
    assert judgement.fields["objective_value"] is not None


def test_every_objective_has_to_be_measured() -> None:
    unmeasured = {
        "objective": ["minimize_ttft", {"metric": "gpu_power_mean_w", "direction": "minimize"}]
    }
    judgement = judged(point(), optimization=unmeasured)

    assert judgement.failure is not None
    assert judgement.failure.kind is FailureKind.BENCHMARK_FAILED
    assert "gpu_power_mean_w" in judgement.failure.message
