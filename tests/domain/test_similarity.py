"""How alike two tasks are: model, hardware, traffic, limits."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.task_files import spec_of
from tuning.domain.model_names import ModelName, model_similarity
from tuning.domain.similarity import (
    GPUS_AGAINST_NONE,
    MOST_CERTAIN,
    OTHER_HOST,
    OTHER_PENALTIES,
    SOMEWHERE_IN_A_CLUSTER,
    UNKNOWN_HARDWARE,
    Hardware,
    hardware_similarity,
    have_same_penalties,
    obstacle,
    probabilities_of_use,
    similarity,
    traffic_similarity,
)
from tuning.domain.spec_sections import BenchmarkSpec
from tuning.domain.traffic import mean_tokens

HERE = Hardware(frozenset({"here"}), cpu_count=8, memory_mib=32_000)


@pytest.mark.parametrize(
    ("written", "words", "billions", "quantisation"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", ("llama", "3.2"), 1.0, None),
        ("models/SmolLM2-135M-Instruct.Q4_1.gguf", ("smollm2",), 0.135, "q4_1"),
        ("Qwen/Qwen3-30B-A3B-Instruct-FP8/", ("qwen3",), 30.0, "fp8"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", ("mixtral", "v0.1"), 56.0, None),
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", ("llama", "3.1"), 8.0, "awq"),
        ("deepseek-ai/DeepSeek-V3", ("deepseek", "v3"), None, None),
        ("/", (), None, None),
    ],
)
def test_what_a_name_tells(
    written: str, words: tuple[str, ...], billions: float | None, quantisation: str | None
) -> None:
    assert ModelName.of(written) == ModelName(words, billions, quantisation)


def test_models_from_the_most_to_the_least_alike() -> None:
    others = [
        "llama-3-2-1b-instruct",
        "unsloth/Llama-3.2-1B-Instruct-FP8",
        "meta-llama/Llama-3.2-3B-Instruct",
        "meta-llama/Llama-3.1-8B-Instruct",
        "deepseek-ai/DeepSeek-V3",
        "Qwen/Qwen2.5-72B-Instruct",
    ]
    alike = [model_similarity("meta-llama/Llama-3.2-1B-Instruct", other) for other in others]
    assert alike == sorted(alike, reverse=True)
    assert len(set(alike)) == len(alike)
    assert alike[0] == 1.0


NAMES = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"[a-z]{1,6}-[0-9]\.[0-9]-[0-9]{1,3}[bm](-(awq|fp8|q4_k_m))?", fullmatch=True),
)


@given(NAMES, NAMES)
def test_models_are_alike_both_ways_and_never_not_at_all(one: str, other: str) -> None:
    alike = model_similarity(one, other)
    assert 0 < alike <= 1
    assert alike == pytest.approx(model_similarity(other, one))
    assert model_similarity(one, one) == 1.0


SCENARIOS = st.sampled_from(
    ["D(100,100)", "D(1000,20)", "N(480,240)/(300,150)", "U(100,200)", "U(50,100)/(100,200)"]
)
BENCHMARKS = st.builds(
    lambda scenarios, levels: BenchmarkSpec(
        traffic_scenarios=tuple(scenarios), num_concurrency=tuple(levels)
    ),
    st.lists(SCENARIOS, min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 512), min_size=1, max_size=4, unique=True),
)


@given(BENCHMARKS, BENCHMARKS)
def test_traffic_is_alike_both_ways_and_never_not_at_all(
    one: BenchmarkSpec, other: BenchmarkSpec
) -> None:
    alike = traffic_similarity(one, other)
    assert 0 < alike <= 1
    assert alike == pytest.approx(traffic_similarity(other, one))
    assert traffic_similarity(one, one) == 1.0


def test_traffic_is_the_less_alike_the_farther_apart() -> None:
    def traffic(scenario: str, concurrency: int) -> BenchmarkSpec:
        return BenchmarkSpec(traffic_scenarios=(scenario,), num_concurrency=(concurrency,))

    asked = traffic("D(100,100)", 8)
    others = [
        traffic("D(100,100)", 16),
        traffic("D(100,100)", 64),
        traffic("D(800,100)", 64),
        traffic("D(800,800)", 512),
    ]
    alike = [traffic_similarity(asked, other) for other in others]
    assert alike == sorted(alike, reverse=True)
    assert alike[0] == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("scenario", "tokens"),
    [
        ("D(100,200)", (100, 200)),
        ("N(480,240)/(300,150)", (480, 300)),
        ("U(100,200)", (50.5, 100.5)),
        ("U(50,100)/(100,200)", (75, 150)),
    ],
)
def test_mean_tokens(scenario: str, tokens: tuple[float, float]) -> None:
    assert mean_tokens(scenario) == tokens
    with pytest.raises(ValueError, match="no traffic scenario"):
        mean_tokens(f"{scenario} ")


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (Hardware(frozenset({"there", "here"}), has_cards=True), 1.0),
        (Hardware(frozenset({"there"}), cpu_count=8, memory_mib=32_000), OTHER_HOST),
        (Hardware(frozenset({"there"}), cpu_count=16, memory_mib=64_000), OTHER_HOST * 0.85**2),
        (Hardware(frozenset({"there"}), cpu_count=16), UNKNOWN_HARDWARE),
        (Hardware(), UNKNOWN_HARDWARE),
    ],
)
def test_hardware(other: Hardware, alike: float) -> None:
    assert hardware_similarity(HERE, other) == pytest.approx(alike)
    assert hardware_similarity(other, HERE) == pytest.approx(alike)


def test_cards_tell_more_than_the_host_around_them() -> None:
    small = Hardware(frozenset({"a"}), has_cards=True, card_mib=40_000, cpu_count=8)
    large = Hardware(frozenset({"b"}), has_cards=True, card_mib=80_000, cpu_count=64)
    none = Hardware(frozenset({"c"}), has_cards=False, cpu_count=8)
    assert hardware_similarity(small, large) == pytest.approx(OTHER_HOST * 0.85)
    assert hardware_similarity(small, none) == GPUS_AGAINST_NONE


def test_a_namespace_is_not_one_host() -> None:
    cluster = Hardware(frozenset({"autotuner"}), in_cluster=True)
    assert hardware_similarity(cluster, cluster) == SOMEWHERE_IN_A_CLUSTER
    assert hardware_similarity(cluster, Hardware(frozenset({"other"}), in_cluster=True)) < 0.9


def test_the_same_task_is_never_quite_certain() -> None:
    spec = spec_of()
    assert similarity(spec, spec, HERE, HERE) == MOST_CERTAIN


def test_other_penalties_make_scores_mean_something_else() -> None:
    plain, hard = spec_of(), spec_of(slo={"ttft_p99_s": 0.5})
    soft = spec_of(slo={"ttft_p99_s": {"max": 0.5, "hard": False}})
    assert have_same_penalties(plain, hard)
    assert not have_same_penalties(plain, soft)
    alike = similarity(plain, soft, HERE, HERE)
    assert alike == pytest.approx(MOST_CERTAIN * OTHER_PENALTIES)


GOODPUT: dict[str, Any] = {
    "optimization": {"objective": "maximize_goodput"},
    "slo": {"ttft_p99_s": 0.5},
    "benchmark": {"num_concurrency": [1, 64]},
}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"model": {"id_or_path": "other.gguf"}, "slo": {"ttft_p99_s": 0.5}}, None),
        ({"base_runtime": "vllm"}, "tuned vllm, and this task tunes llamacpp"),
        (
            {"parameters": {"threads": 2, "batch-size": [1, 2]}},
            "tuned none of this task's flags, but batch-size",
        ),
        ({"parameters": {"threads": 2}}, "tuned none of this task's flags, but nothing"),
        (
            {"optimization": {"objective": "maximize_throughput"}},
            "was judged by other objectives (maximize output_throughput_tokens_per_s) than "
            "minimize e2e_latency_mean_s",
        ),
        (
            {"optimization": {"objective": ["maximize_throughput", "minimize_latency"]}},
            None,
        ),
    ],
)
def test_what_can_be_compared_at_all(changed: dict[str, Any], why: str | None) -> None:
    assert obstacle(spec_of(), spec_of(**changed)) == why


def test_each_of_several_objectives_must_have_been_measured() -> None:
    both = spec_of(optimization={"objective": ["maximize_throughput", "minimize_latency"]})
    assert obstacle(both, both) is None
    assert obstacle(both, spec_of()) is not None


def test_goodput_is_compared_within_the_same_limits_alone() -> None:
    spec = spec_of(**GOODPUT)
    assert obstacle(spec, spec_of(**GOODPUT)) is None
    stricter = spec_of(**{**GOODPUT, "slo": {"ttft_p99_s": 0.25}})
    assert obstacle(spec, stricter) == "measured its goodput within other limits of slo"


@given(st.lists(st.floats(0.001, MOST_CERTAIN), min_size=1, max_size=20))
def test_many_tasks_are_no_surer_than_the_most_similar_of_them(similarities: list[float]) -> None:
    probabilities = probabilities_of_use(similarities)
    assert prod(1 - one for one in probabilities) == pytest.approx(1 - max(similarities))
    assert all(
        0 < one <= alike + 1e-12 for one, alike in zip(probabilities, similarities, strict=True)
    )
    assert sorted(probabilities) == [
        one for _, one in sorted(zip(similarities, probabilities, strict=True))
    ]


def test_one_task_is_as_likely_of_use_as_it_is_similar() -> None:
    assert probabilities_of_use([0.7]) == [pytest.approx(0.7)]
    assert probabilities_of_use([]) == []
