"""A task whose flags its engine would refuse is refused itself, with the place and the reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.domain.task_files import minimal_task, spec_of
from tuning.domain.spec import InvalidTask
from tuning.flag_findings import engine_of, flag_problems, flag_warnings, with_right_flags
from tuning.presets import presets
from tuning.preview import preview_task

pytestmark = pytest.mark.django_db

VLLM = {"base_runtime": "vllm", "deployment_mode": "docker", "model": {"id_or_path": "meta/tiny"}}
SGLANG = VLLM | {"base_runtime": "sglang"}


def problems(**sections: Any) -> dict[str, str]:
    spec = spec_of(**sections)
    found = flag_problems(spec, engine_of(spec.base_runtime))
    return {problem.path: str(problem) for problem in found}


def warnings(**sections: Any) -> list[str]:
    spec = spec_of(**sections)
    return list(flag_warnings(spec, engine_of(spec.base_runtime)))


RANDOM = {"strategy": "random", "max_iterations": 3}


def test_a_flag_with_wrong_values_only_is_a_problem_at_each_of_them() -> None:
    found = problems(
        **VLLM,
        parameters={
            "dtype": ["fp8", "int4"],
            "gpu-memory-utilization": 1.5,
            "max-num-seqs": {"type": "int", "low": -64, "high": 0},
            "max-num-batched-tokens": [2048, 4096],
        },
    )
    assert set(found) == {
        *("parameters.dtype[0]", "parameters.dtype[1]", "parameters.gpu-memory-utilization"),
        *("parameters.max-num-seqs.low", "parameters.max-num-seqs.high"),
    }
    assert '(found "fp8")' in found["parameters.dtype[0]"]
    assert "above 0 and at most 1" in found["parameters.gpu-memory-utilization"]


def test_a_wrong_value_among_right_ones_is_a_warning() -> None:
    tuned = {
        "dtype": ["half", "fp8", "auto", False],
        "max-num-seqs": {"type": "int", "low": 0, "high": 64, "step": 64},
        "cpu-offload-gb": {"type": "float", "low": -1, "high": 2},
    }
    assert problems(**VLLM, parameters=tuned, optimization=RANDOM) == {}
    found = warnings(**VLLM, parameters=tuned, optimization=RANDOM)
    assert [warning.partition(":")[0] for warning in found] == [
        "parameters.dtype[1]",
        "parameters.max-num-seqs.low",
        "parameters.cpu-offload-gb.low",
    ]
    assert all("would be refused" in warning for warning in found)


def test_only_values_that_a_range_reaches_are_looked_at() -> None:
    def said(share: dict[str, Any]) -> list[str]:
        parameters = {"mem-fraction-static": share}
        return warnings(**SGLANG, parameters=parameters, optimization=RANDOM)

    share = {"type": "float", "low": 0.7, "high": 1.0}
    (warning,) = said(share)
    assert warning.startswith("parameters.mem-fraction-static.high: takes a number above 0")
    assert said(share | {"step": 0.08}) == []


def test_a_rule_that_every_experiment_breaks_is_a_problem() -> None:
    found = problems(
        **SGLANG,
        parameters={"tp-size": [2, 4], "dp-size": 3, "enable-dp-attention": True},
    )
    (text,) = found.values()
    assert list(found) == ["parameters.tp-size"]
    assert "tp-size % dp-size == 0" in text
    assert "whatever the values are" in text


def test_a_rule_that_some_experiments_break_is_a_warning() -> None:
    tuned = {"tp-size": [2, 4], "dp-size": [1, 4], "enable-dp-attention": True}
    assert problems(**SGLANG, parameters=tuned) == {}
    (warning,) = warnings(**SGLANG, parameters=tuned)
    assert warning.startswith("1 of 4 combinations")
    assert "tp-size % dp-size == 0" in warning
    # With it as a constraint of the task, no experiment breaks it.
    assert not warnings(**SGLANG, parameters=tuned, constraints=["tp-size % dp-size == 0"])


def test_between_the_ends_of_a_range_values_may_be_right() -> None:
    tuned = {"chunked-prefill-size": {"type": "int", "low": 1000, "high": 8200}, "page-size": 64}
    assert problems(**SGLANG, parameters=tuned) == {}
    assert any("2 of 2 combinations" in one for one in warnings(**SGLANG, parameters=tuned))


def test_doubts_are_warnings() -> None:
    found = warnings(
        **VLLM,
        parameters={
            "kv-cache-dtype": ["auto", "fp8_e4m4"],
            "enable-prefix-caching": [True, False],
            "max-num-seq": [8, 16],
        },
    )
    assert len(found) == 3
    assert 'did you mean "fp8_e4m3"?' in found[1]
    assert "no-enable-prefix-caching" in found[2]
    assert 'did you mean "max-num-seqs"?' in found[0]


@pytest.mark.parametrize("values", [True, [True, False]])
def test_a_refused_flag_names_the_setting_and_can_be_allowed(values: Any, settings: Any) -> None:
    sections = VLLM | {"parameters": {"trust-remote-code": values, "max-num-seqs": [8, 16]}}
    found = problems(**sections)
    assert "AUTOTUNER_ALLOWED_FLAGS" in found["parameters.trust-remote-code"]
    settings.AUTOTUNER_ALLOWED_FLAGS = ("trust-remote-code",)
    assert problems(**sections) == {}
    assert preview_task(minimal_task(**sections)).problems == ()


def test_a_flag_that_is_left_out_is_not_refused() -> None:
    assert problems(**VLLM, parameters={"trust-remote-code": False, "max-num-seqs": [8, 16]}) == {}


def test_right_flags_are_let_through() -> None:
    for preset in presets():
        assert with_right_flags(preset.spec) is preset.spec


def test_wrong_flags_are_an_invalid_task() -> None:
    with pytest.raises(InvalidTask) as invalid:
        with_right_flags(spec_of(**VLLM, parameters={"port": 1, "dtype": "x"}))
    assert [problem.path for problem in invalid.value.problems] == [
        "parameters.port",
        "parameters.dtype",
    ]


def test_a_preview_says_the_same() -> None:
    preview = preview_task(minimal_task(**VLLM, parameters={"dtype": ["x", "y"]}))
    assert [problem.path for problem in preview.problems] == [
        "parameters.dtype[0]",
        "parameters.dtype[1]",
    ]
