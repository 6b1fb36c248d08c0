"""The task file: its defaults, its older forms, and that it survives being written and read."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.domain.task_files import FULL_TASK, OLDER_TASK, minimal_task, spec_of
from tuning.domain.metrics import Direction
from tuning.domain.names import DeploymentMode, EngineName
from tuning.domain.objectives import Objective
from tuning.domain.parameters import Choices, Fixed, FloatRange, IntRange, Parameter
from tuning.domain.slo import Slo
from tuning.domain.spec import SearchStrategy, parse_task


def test_defaults() -> None:
    spec = parse_task(
        {key: item for key, item in minimal_task().items() if key != "deployment_mode"}
    )
    assert spec.deployment_mode is DeploymentMode.OME
    assert spec.base_runtime is EngineName.LLAMACPP
    assert spec.model.namespace == "autotuner"
    assert spec.optimization.strategy is SearchStrategy.GRID_SEARCH
    assert spec.objective.name == "minimize_latency"
    assert spec.optimization.timeout_per_iteration == 600
    assert spec.optimization.max_iterations is None
    assert spec.optimization.baseline is True
    assert spec.benchmark.traffic_scenarios == ("D(100,100)",)
    assert spec.benchmark.num_concurrency == (1,)
    assert (spec.benchmark.warmup, spec.benchmark.repeats) == (4, 1)
    assert spec.slo == ()
    assert spec.slos == (Slo("error_rate", max=0.0),)


def test_a_task_file_of_an_older_release_means_what_it_meant() -> None:
    spec = parse_task(OLDER_TASK)
    assert spec.model.id_or_path == "llama-3-2-1b-instruct"
    assert spec.parameters == {
        "tp-size": Fixed(1),
        "mem-fraction-static": Choices((0.7, 0.8)),
    }
    assert spec.slo == (
        Slo("e2e_latency_p50_s", max=2.0, hard=False, fail_ratio=0.5),
        Slo("e2e_latency_p90_s", max=5.0, hard=True, weight=2.0, fail_ratio=0.2),
        Slo("ttft_mean_s", max=1.0, hard=False, weight=2.0, fail_ratio=0.5),
    )


@pytest.mark.parametrize("document", [minimal_task(), OLDER_TASK, FULL_TASK])
def test_a_normalised_document_reads_back_as_it_was(document: dict[str, Any]) -> None:
    spec = parse_task(document)
    written = json.dumps(spec.to_document(), allow_nan=False)
    again = parse_task(written)
    assert again == spec
    assert json.dumps(again.to_document()) == written


SCALARS = st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab-", max_size=4)
INT_RANGES = st.builds(
    lambda low, width, step, log: {
        "type": "int",
        "low": low,
        "high": low + width,
        "step": step,
        "log": log,
    },
    st.integers(1, 99),
    st.integers(1, 99),
    st.none() | st.integers(1, 9),
    st.booleans(),
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["tp-size", "a.b", "x1", "enable-y"]),
    SCALARS
    | st.lists(SCALARS, min_size=1, max_size=4, unique_by=lambda v: (type(v), v))
    | INT_RANGES,
)


@given(PARAMETERS)
def test_parameters_keep_their_values_and_types(parameters: dict[str, Any]) -> None:
    spec = spec_of(parameters=parameters)
    again = parse_task(json.dumps(spec.to_document()))
    assert json.dumps(again.to_document()) == json.dumps(spec.to_document())
    some, others = (islice(one.space().configurations(), 100) for one in (spec, again))
    assert [repr(found) for found in some] == [repr(found) for found in others]


@pytest.mark.parametrize(
    ("written", "parameter"),
    [
        (4, Fixed(4)),
        (False, Fixed(False)),
        ("auto", Fixed("auto")),
        ([4], Fixed(4)),
        ([1, 2], Choices((1, 2))),
        ([1, 1.0, True], Choices((1, 1.0, True))),
        ({"type": "choice", "values": [1, 2]}, Choices((1, 2))),
        ({"type": "categorical", "values": ["a", "b"]}, Choices(("a", "b"))),
        ({"type": "choices", "values": [1]}, Fixed(1)),
        ({"type": "int", "low": 1, "high": 8}, IntRange(1, 8)),
        ({"type": "integer", "low": 1, "high": 9, "step": 4}, IntRange(1, 9, 4)),
        ({"type": "int", "low": 1, "high": 8, "log": True}, IntRange(1, 8, log=True)),
        ({"type": "int", "low": 3, "high": 3}, Fixed(3)),
        ({"type": "float", "low": 0, "high": 1, "step": 0.5}, FloatRange(0.0, 1.0, 0.5)),
    ],
)
def test_forms_of_a_parameter(written: object, parameter: Parameter) -> None:
    read = spec_of(parameters={"--flag_name": written}).parameters
    assert repr(read) == repr({"flag-name": parameter})


@pytest.mark.parametrize(
    ("written", "slo"),
    [
        ({"ttft_p99_s": 0.5}, Slo("ttft_p99_s", max=0.5)),
        ({"output_throughput_tokens_per_s": 9}, Slo("output_throughput_tokens_per_s", min=9.0)),
        ({"ttft": {"p99": 0.5}}, Slo("ttft_p99_s", max=0.5)),
        (
            {"ttft_p99_s": {"max": 0.5, "hard": False, "weight": 2.0}},
            Slo("ttft_p99_s", max=0.5, hard=False, weight=2.0),
        ),
        ({"mean_output_tokens": {"min": 90, "max": 110}}, Slo("mean_output_tokens", 110.0, 90.0)),
        ({"tpot_p90_s": 0.1, "steepness": 0.3}, Slo("tpot_p90_s", max=0.1, steepness=0.3)),
        ({"tpot": {"threshold": 0.1}}, Slo("tpot_mean_s", max=0.1, hard=False, fail_ratio=0.5)),
        (
            {"latency": {"p99": {"threshold": 9, "hard_fail": True}}},
            Slo("e2e_latency_p99_s", max=9.0, hard=True, fail_ratio=0.5),
        ),
    ],
)
def test_forms_of_a_limit(written: dict[str, Any], slo: Slo) -> None:
    assert spec_of(slo=written).slo == (slo,)


def test_no_slo_may_be_written_as_null() -> None:
    assert spec_of(slo=None).slo == ()


def test_an_objective_over_any_metric() -> None:
    spec = spec_of(optimization={"objective": {"metric": "ttft_p99_s", "direction": "minimize"}})
    assert spec.objective == Objective("minimize_ttft_p99_s", "ttft_p99_s", Direction.MINIMIZE)


def test_types_of_additional_params_are_kept() -> None:
    params = {"temperature": 0.0, "n": 1, "ignore_eos": True, "stop": ["a"], "t": "0.0"}
    read = spec_of(benchmark={"additional_params": params}).to_document()
    assert repr(read["benchmark"]["additional_params"]) == repr(params)


@pytest.mark.parametrize(
    ("id_or_path", "name"),
    [
        ("meta-llama/Llama-3.2-1B", "Llama-3.2-1B"),
        ("/models/SmolLM2.Q8_0.gguf", "SmolLM2.Q8_0"),
        ("/models/qwen/", "qwen"),
        ("llama", "llama"),
    ],
)
def test_the_served_name_is_the_last_part_of_the_model(id_or_path: str, name: str) -> None:
    assert spec_of(model={"id_or_path": id_or_path}).served_model_name == name


def test_a_served_name_can_be_given() -> None:
    assert spec_of(benchmark={"model_name": "mine"}).served_model_name == "mine"


def test_the_space_has_the_constraints_of_the_file() -> None:
    space = spec_of(constraints=["threads * parallel <= 4"]).space()
    assert space.size == 4
    assert len(space.listing()) == 3


def test_one_concurrency_may_be_a_bare_number() -> None:
    assert spec_of(benchmark={"num_concurrency": 8}).benchmark.num_concurrency == (8,)


def test_a_spec_can_not_be_changed() -> None:
    field = "task_name"
    with pytest.raises(ValidationError):
        setattr(spec_of(), field, "other")


def test_text_may_begin_with_a_byte_order_mark() -> None:
    text = json.dumps(minimal_task()).encode("utf-8-sig")
    assert parse_task(text) == spec_of()
