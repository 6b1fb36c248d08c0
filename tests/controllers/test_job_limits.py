"""What BenchmarkJobs can't do is said by field, and only where it matters."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from controllers.cluster.job_limits import JobLimit, job_limits
from tests.domain.task_files import minimal_task
from tuning.domain.cluster_names import JOB_MODEL_NAME
from tuning.domain.names import EngineName
from tuning.domain.spec import TaskSpec, parse_task
from tuning.measuring_findings import measuring_findings


def limits(**changes: Any) -> list[JobLimit]:
    given: dict[str, Any] = {
        "engine": EngineName.VLLM,
        "model_name": JOB_MODEL_NAME,
        "tokenizer": None,
        "additional_params": {},
    }
    return job_limits(**(given | changes))


def test_a_plain_task_has_no_limits() -> None:
    assert limits() == []
    assert limits(additional_params={"temperature": 0.0, "ignore_eos": True}) == []


def test_vllm_answers_to_one_name_only() -> None:
    (limit,) = limits(model_name="mine")
    assert (limit.field, limit.refuses) == ("benchmark.model_name", True)
    assert JOB_MODEL_NAME in limit.sentence
    assert limits(model_name="mine", engine=EngineName.SGLANG) == []


@pytest.mark.parametrize(
    "params", [{"temperature": 0.7}, {"ignore_eos": False}, {"top_p": 1.0}, {"temperature": None}]
)
def test_params_that_would_be_lost_are_refused_by_name(params: dict[str, Any]) -> None:
    (limit,) = limits(additional_params={"ignore_eos": True, **params})
    assert (limit.field, limit.refuses) == ("benchmark.additional_params", True)
    assert next(iter(params)) in limit.sentence


def test_another_tokenizer_is_only_a_warning() -> None:
    (limit,) = limits(tokenizer="org/tokenizer")
    assert (limit.field, limit.refuses) == ("benchmark.model_tokenizer", False)


def test_a_key_is_refused() -> None:
    (limit,) = limits(api_key="secret")
    assert limit.refuses
    assert "secret" not in limit.sentence


def job_task(**sections: Any) -> TaskSpec:
    ome = {"measuring": "benchmark_job", "results_storage": "pvc://results/a"}
    return parse_task(
        minimal_task(
            **{
                "deployment_mode": "ome",
                "base_runtime": "vllm",
                "parameters": {"max-num-seqs": [8, 16]},
                "ome": ome,
                **sections,
            }
        )
    )


def test_the_engine_serves_under_the_name_that_jobs_ask_for() -> None:
    assert job_task().served_model_name == JOB_MODEL_NAME
    assert job_task(deployment_mode="local").served_model_name == "SmolLM2-135M-Instruct"
    assert job_task(benchmark={"model_name": "mine"}).served_model_name == "mine"


def test_findings_of_a_task(settings: Settings) -> None:
    assert measuring_findings(job_task()).problems == ()
    wrong = job_task(
        benchmark={"model_name": "mine", "model_tokenizer": "x", "additional_params": {"n": 2}}
    )
    found = measuring_findings(wrong)
    assert [problem.path for problem in found.problems] == [
        "benchmark.model_name",
        "benchmark.additional_params",
    ]
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("benchmark.model_tokenizer is not used")
    settings.AUTOTUNER_BENCHMARK_API_KEY = "secret"
    assert [one.path for one in measuring_findings(job_task()).problems] == ["ome.measuring"]
    assert measuring_findings(job_task(ome={"measuring": "direct"})).problems == ()
