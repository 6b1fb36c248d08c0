"""What a user is told about a task file that can't be used."""

from __future__ import annotations

import json
import math
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.task_files import FULL_TASK, minimal_task, problems_in
from tuning.domain.spec import InvalidTask, parse_task, read_document


def section(name: str, /, **content: Any) -> dict[str, Any]:
    return minimal_task(**{name: content})


CASES: list[tuple[dict[str, Any], str, str]] = [
    (minimal_task(task_name=""), "task_name", "must not be empty"),
    (minimal_task(task_name="x" * 101), "task_name", "at most 100 characters"),
    (minimal_task(task_name=4), "task_name", "must be a text in quotes"),
    (minimal_task(deployment_mod="ome"), "deployment_mod", 'did you mean "deployment_mode"'),
    (minimal_task(zzzz=1), "zzzz", "known here are task_name, description"),
    (minimal_task(deployment_mode="dokcer"), "deployment_mode", 'did you mean "docker"'),
    (minimal_task(base_runtime="sglan"), "base_runtime", 'did you mean "sglang"'),
    (minimal_task(model="llama"), "model", "must be an object"),
    (minimal_task(model={}), "model.id_or_path", "is missing"),
    (section("model", id_or_path="a", name="b"), "model.name", "older name"),
    (
        section("model", id_or_path="a", id_or_pth="a"),
        "model.id_or_pth",
        'did you mean "id_or_path"',
    ),
    (minimal_task(parameters=[1]), "parameters", "must be an object"),
    (section("parameters", a=[]), "parameters.a", "at least one value"),
    (section("parameters", a=[1, [2]]), "parameters.a[1]", "must be a number, a text"),
    (section("parameters", a=[1, 2, 1]), "parameters.a[2]", "same value as [0]"),
    (section("parameters", a=None), "parameters.a", "must be a value, a list"),
    (section("parameters", a={"low": 1}), "parameters.a.type", '"choice", "int" or "float"'),
    (section("parameters", a={"type": "in"}), "parameters.a.type", '"choice", "int" or "float"'),
    (section("parameters", a={"type": []}), "parameters.a.type", '"choice", "int" or "float"'),
    (section("parameters", a={"type": "int", "low": 1}), "parameters.a.high", "is missing"),
    (
        section("parameters", a={"type": "int", "low": 2, "high": 1}),
        "parameters.a.high",
        "must not be less than low, which is 2",
    ),
    (
        section("parameters", a={"type": "int", "low": 0, "high": 4, "log": True}),
        "parameters.a.log",
        "needs a low of at least 1",
    ),
    (
        section("parameters", a={"type": "float", "low": 0, "high": 4, "step": 1, "log": True}),
        "parameters.a.log",
        "needs a low above 0",
    ),
    (
        section("parameters", a={"type": "float", "low": 0, "high": 1e300, "step": 1e-300}),
        "parameters.a.step",
        "is too small for this range",
    ),
    (
        section("parameters", a={"type": "int", "low": "1", "high": 4}),
        "parameters.a.low",
        "must be a whole number; leave out the quotes",
    ),
    (
        section("parameters", a={"type": "choice", "values": [1, 1]}),
        "parameters.a.values[1]",
        "same value as [0]",
    ),
    (section("parameters", **{"tp size": 1}), "parameters.tp size", "not the name of a flag"),
    (section("parameters", **{"tp-size": 1, "tp_size": 2}), "parameters.tp_size", "same flag"),
    (section("parameters", a=10**30), "parameters.a", "at most 64 bits"),
    (
        section("parameters", a={"type": "float", "low": 0.1, "high": 0.9}),
        "parameters.a",
        "grid_search can't enumerate; give it a step",
    ),
    (minimal_task(constraints="threads < 2"), "constraints", "must be a list"),
    (minimal_task(constraints=[1]), "constraints[0]", "must be a text"),
    (
        minimal_task(constraints=["threads < 2", "thread < 2"]),
        "constraints[1]",
        'did you mean "threads"',
    ),
    (minimal_task(constraints=["threads > 99"]), "constraints", "allow none of the configurations"),
    (
        section("optimization", strategy="grid"),
        "optimization.strategy",
        "grid_search, random, bayesian",
    ),
    (section("optimization", strategy="random"), "optimization.max_iterations", "must be given"),
    (
        section("optimization", objective="minimise_latency"),
        "optimization.objective",
        'did you mean "minimize_latency"',
    ),
    (
        section("optimization", objective={"metric": "ttft_p9_s", "direction": "minimize"}),
        "optimization.objective.metric",
        'did you mean "ttft_p99_s"',
    ),
    (
        section("optimization", objective={"metric": "ttft_p99_s", "direction": "up"}),
        "optimization.objective.direction",
        "minimize, maximize",
    ),
    (section("optimization", max_iterations=0), "optimization.max_iterations", "at least 1"),
    (section("optimization", max_iterations="4"), "optimization.max_iterations", "quotes"),
    (section("optimization", max_iterations=True), "optimization.max_iterations", "whole number"),
    (section("optimization", max_iterations=2.0), "optimization.max_iterations", "whole number"),
    (
        section("optimization", timeout_per_iteration=0),
        "optimization.timeout_per_iteration",
        "greater than 0",
    ),
    (
        section("optimization", timeout_per_iteration=math.inf),
        "optimization.timeout_per_iteration",
        "finite",
    ),
    (section("optimization", baseline="yes"), "optimization.baseline", "true or false"),
    (section("slo", ttft_p9_s=1), "slo.ttft_p9_s", 'did you mean "ttft_p99_s"'),
    (section("slo", ttft=0.5), "slo.ttft", "which statistic"),
    (section("slo", ttft={"p98": 0.5}), "slo.ttft.p98", "did you mean"),
    (section("slo", ttft={"p99": "1"}), "slo.ttft.p99", "leave out the quotes"),
    (section("slo", ttft_p99_s={}), "slo.ttft_p99_s", '"max", a "min" or both'),
    (section("slo", ttft_p99_s={"max": 1, "min": 2}), "slo.ttft_p99_s.max", "less than min"),
    (section("slo", ttft_p99_s={"mx": 1}), "slo.ttft_p99_s.mx", 'did you mean "max"'),
    (section("slo", ttft_p99_s=1, ttft={"p99": 1}), "slo.ttft.p99", "a second time"),
    (section("slo", error_rate=5), "slo.error_rate", "share from 0 to 1"),
    (section("slo", mean_output_tokens=5), "slo.mean_output_tokens", '"max" or "min"'),
    (section("slo", latency={"p90": {"weight": 1}}), "slo.latency.p90.threshold", "is missing"),
    (
        section("slo", latency={"p90": {"threshold": 0}}),
        "slo.latency.p90.threshold",
        "greater than 0",
    ),
    (section("slo", latency={"p95": {"threshold": 1}}), "slo.latency.p95", "not a known key"),
    (section("slo", steepness=0), "slo.steepness", "at least"),
    (section("benchmark", task="text-to-rerank"), "benchmark.task", "genai-bench measures other"),
    (section("benchmark", task="text"), "benchmark.task", 'must be "text-to-text"'),
    (section("benchmark", num_concurrency=["4"]), "benchmark.num_concurrency[0]", "quotes"),
    (section("benchmark", num_concurrency=[1, 0]), "benchmark.num_concurrency[1]", "at least 1"),
    (section("benchmark", num_concurrency=[1, 4, 1]), "benchmark.num_concurrency[2]", "twice"),
    (section("benchmark", num_concurrency=[]), "benchmark.num_concurrency", "at least one entry"),
    (
        section("benchmark", traffic_scenarios=["D(100, 100)"]),
        "benchmark.traffic_scenarios[0]",
        "without spaces",
    ),
    (section("benchmark", additional_params=[]), "benchmark.additional_params", "an object"),
]


@pytest.mark.parametrize(("document", "path", "message"), CASES)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(
    document: dict[str, Any], path: str, message: str
) -> None:
    problems = problems_in(document)
    assert list(problems) == [path]
    assert message in problems[path]


SCENARIOS = [
    ("D(0,10)", "at least 1 input token"),
    ("D(10,1)", "at least 2 output tokens"),
    ("N(0,0)/(10,5)", "at least 1 input token"),
    ("N(480,240)/(1,0)", "at least 2 output tokens"),
    ("U(100,1)", "at least 2 output tokens"),
    ("U(0,100)/(2,9)", "at least 1 input token"),
    ("U(9,5)/(2,9)", "smaller number of tokens first"),
    ("D(010,10)", "must be a traffic scenario"),
    ("D(1,2)\n", None),
    ("d(10,10)", "must be a traffic scenario"),
    ("N(1,2)", "must be a traffic scenario"),
    ("E(64)", "must be a traffic scenario"),
    ("D(١,٢)", "must be a traffic scenario"),
    ("N(480,240)/(300,150)", None),
    ("U(100,200)", None),
    ("U(50,100)/(100,200)", None),
]


@pytest.mark.parametrize(("scenario", "message"), SCENARIOS)
def test_traffic_scenarios(scenario: str, message: str | None) -> None:
    problems = problems_in(section("benchmark", traffic_scenarios=[scenario]))
    if message is None:
        assert problems == {}
    else:
        assert message in problems["benchmark.traffic_scenarios[0]"]


def test_all_problems_of_a_file_come_at_once() -> None:
    document = {
        "model": {"id_or_pth": "x"},
        "base_runtime": "sglang",
        "parameters": {"tp-size": [1, 1], "share": {"type": "float", "low": 0, "high": 1}},
        "constraints": ["tp-sise <= 2"],
        "optimization": {"seed": "1"},
        "slo": {"ttf": 1, "latency": {"p90": {}}},
        "benchmark": {"warmup": -1, "repeats": 0},
        "extra": 1,
    }
    assert set(problems_in(document)) == {
        "task_name",
        "model.id_or_path",
        "model.id_or_pth",
        "parameters.tp-size[1]",
        "parameters.share",
        "constraints[0]",
        "optimization.seed",
        "slo.ttf",
        "slo.latency.p90.threshold",
        "benchmark.warmup",
        "benchmark.repeats",
        "extra",
    }


def test_the_listing_has_place_message_and_the_value_shortened() -> None:
    with pytest.raises(InvalidTask) as caught:
        parse_task(minimal_task(base_runtime="x" * 500, task_name=3))
    heading, first, second = str(caught.value).splitlines()
    assert heading == "The task file has 2 problems:"
    assert first == "  task_name: must be a text in quotes (found 3)"
    assert second.startswith('  base_runtime: must be one of sglang, vllm, llamacpp (found "xxx')
    assert len(second) < 150


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n  "task_name": }', "not JSON: Expecting value at line 2, column 16"),
        ("", "line 1, column 1"),
        ("[1]", "one JSON object"),
        (b"\xff{}", "not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        (" " * 2_000_000, "larger than"),
    ],
)
def test_what_is_no_task_file_at_all(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidTask) as caught:
        parse_task(text)
    (problem,) = caught.value.problems
    assert problem.path == ""
    assert message in problem.message


@pytest.mark.parametrize(
    ("addition", "path", "message"),
    [
        ('"parameters": {"a": 1, "a": 2}', "parameters.a", "written twice"),
        ('"optimization": {"seed": NaN}', "optimization.seed", "finite"),
        ('"parameters": {"a": [1, -Infinity]}', "parameters.a[1]", "finite"),
        (
            '"benchmark": {"additional_params": {"x": 1e999}}',
            "benchmark.additional_params.x",
            "finite",
        ),
        ('"parameters": {"a": ' + "9" * 5_000 + "}", "parameters.a", "finite"),
        ('"description": "\\u0000"', "description", "can't be stored"),
        ('"description": "\\ud800"', "description", "can't be stored"),
    ],
)
def test_what_json_allows_and_nothing_else_takes(addition: str, path: str, message: str) -> None:
    key = addition.split('"')[1]
    others = json.dumps({name: item for name, item in minimal_task().items() if name != key})
    problems = problems_in(f"{others[:-1]}, {addition}}}")
    assert message in problems[path]


def test_values_that_no_json_has_are_refused() -> None:
    assert "key that is not a text" in problems_in(minimal_task(parameters={1: 2}))["parameters"]
    assert "no value that JSON has" in problems_in(minimal_task(description={1, 2}))["description"]


def test_nesting_is_bounded() -> None:
    nested: Any = 1
    for _ in range(60):
        nested = {"a": nested}
    problems = problems_in(section("benchmark", additional_params=nested))
    assert "nested too deeply" in problems[""]


def test_a_document_to_be_changed_first_is_read_with_its_text_checked() -> None:
    assert read_document(json.dumps(minimal_task())) == minimal_task()
    with pytest.raises(InvalidTask, match="written twice"):
        read_document('{"task_name": "a", "task_name": "b"}')


def _places(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return [place, *(found for key, item in children for found in _places(item, (*place, key)))]


def _with(document: Any, place: tuple[str | int, ...], value: Any) -> Any:
    if not place:
        return value
    changed: Any = dict(document) if isinstance(document, dict) else list(document)
    changed[place[0]] = _with(document[place[0]], place[1:], value)
    return changed


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_letters, max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=1_500, deadline=None)
@given(place=st.sampled_from(_places(FULL_TASK)), junk=JUNK)
def test_junk_in_any_place_is_told_in_plain_words(place: tuple[str | int, ...], junk: Any) -> None:
    document = _with(FULL_TASK, place, junk)
    try:
        spec = parse_task(document)
    except InvalidTask as error:
        told = str(error)
    else:
        assert parse_task(json.dumps(spec.to_document())) == spec
        return
    assert "Input should" not in told
    assert "pydantic" not in told
    assert len(told.splitlines()) > 1
