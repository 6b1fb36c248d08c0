"""The form and the task document stand for each other, whatever a task says."""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import Any

import pytest
from django.http import QueryDict
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.task_files import FULL_TASK, OLDER_TASK, minimal_task
from tests.web.task_forms import round_trip, switched
from tuning.domain.goodput import GOODPUT_METRICS
from tuning.domain.metrics import ALL_METRIC_NAMES
from tuning.domain.spec import parse_task
from tuning.presets import presets
from tuning.web.task_form.editor import Tab, changed, edit_document, edit_json
from tuning.web.task_form.flag_values import UnreadableText, read_values, write_values
from tuning.web.task_form.layout import SINGLE_NAMES
from tuning.web.task_form.texts import posted_form

EXAMPLES = [minimal_task(), OLDER_TASK, FULL_TASK, *(one.spec.to_document() for one in presets())]


@pytest.mark.parametrize("document", EXAMPLES, ids=lambda document: document["task_name"])
def test_every_example_survives_the_form(document: dict[str, Any]) -> None:
    spec = parse_task(document)
    assert round_trip(spec) == spec


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
)
TEXTS = WORDS.filter(str.strip)
INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TRICKY = st.sampled_from(
    ["true", "False", "1", "-1.5", "1e3", "1..4", "a, b", 'say "hi"', "", " x ", "null", "[1]",
     '{"level": 3}', "1..", "..", "\\", "a\nb", "x,", "007", ".5", "\u2028", "1 step 2", "log"]
)  # fmt: skip
VALUES = st.booleans() | INTEGERS | FLOATS | WORDS | TRICKY
DIFFERENT = st.lists(VALUES, min_size=1, max_size=5, unique_by=lambda value: (type(value), value))


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, Any]:
    log = draw(st.booleans())
    if draw(st.booleans()):
        low, high = sorted(draw(st.tuples(*[st.integers(1, 10**6)] * 2)))
        step: Any = draw(st.none() | st.integers(1, 1000))
        return {"type": "int", "low": low, "high": high, "step": step, "log": log}
    low_f, high_f = sorted(draw(st.tuples(*[st.floats(1e-3, 1e6)] * 2)))
    step = draw(st.none() | st.floats(1e-3, 1e3))
    return {"type": "float", "low": low_f, "high": high_f, "step": step, "log": log}


LIMITS = st.fixed_dictionaries(
    {"max": st.floats(0.5, 1.0)},
    optional={
        "min": st.floats(0, 0.5),
        "hard": st.booleans(),
        "weight": st.floats(0, 1e6),
        "fail_ratio": st.floats(0, 10),
        "steepness": st.floats(1e-6, 1e6),
    },
)
NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
COUNTS = st.integers(1, 1_000_000)
METRIC_NAMES = [name for name in ALL_METRIC_NAMES if name not in GOODPUT_METRICS]
"""Goodput makes demands on the limits and concurrencies of the same task."""
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | WORDS, lambda inner: st.lists(inner, max_size=3)
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "task_name": TEXTS,
        "description": st.lists(WORDS, max_size=3).map("\n".join),
        "deployment_mode": st.sampled_from(["local", "docker", "ome"]),
        "model": st.fixed_dictionaries({"id_or_path": TEXTS}, optional={"namespace": NAMESPACES}),
        "base_runtime": st.sampled_from(["vllm", "sglang", "llamacpp"]),
        "ome": st.fixed_dictionaries(
            {},
            optional={
                "runtime": st.none() | st.sampled_from(["srt-llama", "vllm-llama-3.3", "rt"]),
                "measuring": st.sampled_from(["direct", "benchmark_job"]),
                "results_storage": st.just("pvc://results/a/b.c"),
            },
        ).filter(lambda ome: "results_storage" in ome or ome.get("measuring") != "benchmark_job"),
        "runtime_image": st.none() | st.sampled_from(["a", "host:5000/b/c_d", "x.y/z--1"]),
        "runtime_image_tag": st.none() | TEXTS,
        "parameters": st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,4})?", fullmatch=True),
            VALUES | DIFFERENT | ranges(),
            max_size=5,
        ),
        "optimization": st.fixed_dictionaries(
            {
                "strategy": st.just("random"),
                "objective": st.sampled_from(["minimize_ttft", "maximize_throughput"])
                | st.fixed_dictionaries(
                    {
                        "metric": st.sampled_from(METRIC_NAMES),
                        "direction": st.sampled_from(["minimize", "maximize"]),
                    }
                )
                | st.lists(
                    st.fixed_dictionaries(
                        {
                            "metric": st.sampled_from(METRIC_NAMES),
                            "direction": st.sampled_from(["minimize", "maximize"]),
                        }
                    ),
                    min_size=2,
                    max_size=4,
                    unique_by=lambda one: one["metric"],
                ),
                "max_iterations": COUNTS,
                "timeout_per_iteration": st.floats(1e-3, 604_800),
                "seed": INTEGERS,
                "baseline": st.booleans(),
            }
        ),
        "slo": st.dictionaries(st.sampled_from(METRIC_NAMES), LIMITS, max_size=4),
        "benchmark": st.fixed_dictionaries(
            {
                "model_name": st.none() | TEXTS,
                "traffic_scenarios": st.lists(
                    st.sampled_from(["D(100,100)", "N(480,240)/(300,150)", "U(5,10)"]),
                    min_size=1,
                    unique=True,
                ),
                "num_concurrency": st.lists(COUNTS, min_size=1, max_size=4, unique=True),
                "warmup": st.integers(0, 1_000_000),
                "repeats": st.integers(1, 1000),
                "additional_params": st.dictionaries(WORDS, JSON_VALUES, max_size=3),
            }
        ),
    }
)


@given(DOCUMENTS)
@settings(max_examples=40, deadline=None)
def test_any_task_survives_the_form(document: dict[str, Any]) -> None:
    spec = parse_task(document)
    assert round_trip(spec) == spec


def test_a_constraint_and_both_sides_of_a_limit_survive_the_form() -> None:
    spec = parse_task(
        minimal_task(
            constraints=["threads <= 2", "parallel in [1, 4]"],
            slo={"mean_input_tokens": {"min": 1, "max": 9}, "steepness": 0.5},
        )
    )
    assert round_trip(spec) == spec


@given(VALUES | DIFFERENT | ranges())
@settings(deadline=None)
def test_values_survive_their_text(declared: Any) -> None:
    text = write_values(declared)
    assert "\n" not in text
    read = read_values(text)
    if isinstance(declared, dict):
        declared = {key: item for key, item in declared.items() if item not in (None, False)}
    assert read == declared
    assert repr(read) == repr(declared)


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("", []),
        ("4096", 4096),
        ("-1", -1),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("True", True),
        ("false", False),
        ("007", "007"),
        ("fp8", "fp8"),
        ("on, off", ["on", "off"]),
        ("1, 2, 4", [1, 2, 4]),
        ("1,", [1]),
        ("1, 2,", [1, 2]),
        ('"1"', "1"),
        ('"a, b", c', ["a, b", "c"]),
        ("[1, 2]", [1, 2]),
        ('{"level": 3, "x": 1}', '{"level": 3, "x": 1}'),
        ("1..64", {"type": "int", "low": 1, "high": 64}),
        ("1 .. 64 step 8", {"type": "int", "low": 1, "high": 64, "step": 8}),
        ("64..2048 log", {"type": "int", "low": 64, "high": 2048, "log": True}),
        (
            "0.1..0.9 step 0.05 LOG",
            {"type": "float", "low": 0.1, "high": 0.9, "step": 0.05, "log": True},
        ),
        ("1..2.5", {"type": "float", "low": 1.0, "high": 2.5}),
        ("-4..-1", {"type": "int", "low": -4, "high": -1}),
        ("../model", "../model"),
    ],
)
def test_what_is_typed_becomes_what_it_looks_like(text: str, declared: Any) -> None:
    assert repr(read_values(text)) == repr(declared)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"open', "a quote that is not closed"),
        ('"a" b', "a quote that is not closed"),
        ('"\\x"', "a text that JSON does not read"),
        ("1,, 2", "nothing between two commas"),
        (",", "nothing between two commas"),
        ("1..", "a range that can't be read"),
        ("1..64 step", "a range that can't be read"),
        ("1..64 by 8", "a range that can't be read"),
        ("1..4, 8", "nothing beside it"),
        ("[1, 2", None),
        ("[1,]", "is not JSON: .* line 1, column"),
        ("[" * 100_000 + "]", "nested too deeply"),
    ],
)
def test_text_that_is_no_value_is_refused(text: str, message: str | None) -> None:
    if message is None:
        assert read_values(text) == ["[1", 2]
        return
    with pytest.raises(UnreadableText, match=message):
        read_values(text)


@pytest.mark.parametrize(
    "text",
    ["9" * 200_000, "1" + " " * 200_000 + "x", '"' * 200_001, "1.." + "9" * 200_000 + "x", "-" * 9],
)
def test_no_text_takes_long_to_read(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(UnreadableText):
        read_values(text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"benchmrk": {}}, "benchmrk"),
        ({"model": {"id_or_path": "m", "colour": 1}}, "model.colour"),
        ({"parameters": [1]}, "parameters"),
        ({"parameters": {"threads": [1, None]}}, "parameters.threads[1]"),
        ({"parameters": {"threads": {"type": "int", "low": "a", "high": 2}}},
         "parameters.threads.low"),
        ({"task_name": 5}, "task_name"),
        ({"benchmark": {"warmup": "4"}}, "benchmark.warmup"),
        ({"benchmark": "none"}, "benchmark"),
        ({"optimization": {"baseline": "yes"}}, "optimization.baseline"),
        ({"slo": {"ttft": 3}}, "slo.ttft"),
        ({"constraints": [1]}, "constraints[0]"),
    ],
)  # fmt: skip
def test_the_form_refuses_to_show_what_it_would_lose(sections: dict[str, Any], path: str) -> None:
    editor = edit_document(minimal_task(**sections))
    assert editor.tab is Tab.JSON
    assert editor.note
    assert json.loads(editor.text) == minimal_task(**sections)
    assert path in {problem.path for problem in editor.preview.problems}
    assert changed(editor, "to-form").tab is Tab.JSON


@pytest.mark.parametrize(
    ("sections", "path", "slot"),
    [
        ({"task_name": ""}, "task_name", "task_name"),
        ({"base_runtime": "vlm"}, "base_runtime", "base_runtime"),
        ({"benchmark": {"warmup": "many"}}, "benchmark.warmup", "benchmark-warmup"),
        ({"benchmark": {"num_concurrency": [1, 0]}}, "benchmark.num_concurrency[1]",
         "benchmark-num_concurrency"),
        ({"parameters": {"threads": [1, 1]}}, "parameters.threads[1]", "parameters-0"),
        ({"parameters": {"a b": 1}}, "parameters.a b", "parameters-0"),
        ({"constraints": ["threads <"]}, "constraints[0]", "constraints-0"),
        ({"slo": {"ttft_p99_s": {"max": -1}}}, "slo.ttft_p99_s.max", "slo-0"),
        ({"optimization": {"objective": "fast"}}, "optimization.objective", "objectives-0"),
        ({"optimization": {"objective": ["minimize_ttft", "fast"]}}, "optimization.objective[1]",
         "objectives-1"),
        ({"optimization": {"objective": ["minimize_ttft", {"metric": "ttft_mean_s",
                                                           "direction": "minimize"}]}},
         "optimization.objective[1]", "objectives-1"),
        ({"optimization": {"objective": ["minimize_ttft", {"metric": "speed",
                                                           "direction": "minimize"}]}},
         "optimization.objective[1].metric", "objectives-1"),
        ({"optimization": {"objective": [*["minimize_ttft"] * 5]}}, "optimization.objective",
         "optimization-objective"),
        ({"optimization": {"objective": ["maximize_goodput", "minimize_ttft"]},
          "slo": {"ttft_p99_s": 1.0}, "benchmark": {"num_concurrency": [1, 8]}},
         "optimization.objective", "optimization-objective"),
        ({"optimization": {"warm_start": "often"}}, "optimization.warm_start",
         "optimization-warm_start"),
        ({"optimization": {"warm_start": [3, 3]}}, "optimization.warm_start[1]",
         "optimization-warm_start-tasks"),
    ],
)  # fmt: skip
def test_mistakes_that_the_form_can_show_are_shown_at_their_input(
    sections: dict[str, Any], path: str, slot: str
) -> None:
    editor = edit_document(minimal_task(**sections))
    assert editor.tab is Tab.FORM
    assert editor.reading
    places = {one.path: editor.reading.slot_of(one) for one in editor.preview.problems}
    assert (places[path] or ("",))[0] == slot


@pytest.mark.django_db
def test_line_breaks_in_one_line_stay_on_the_json_tab() -> None:
    editor = edit_document(minimal_task(task_name="two\nlines"))
    assert editor.tab is Tab.JSON
    assert not editor.preview.problems


@pytest.mark.django_db
def test_switching_tabs_to_and_fro_carries_everything_over() -> None:
    there_and_back = switched(edit_document(FULL_TASK), "to-json", "to-form", "to-json")
    assert there_and_back.tab is Tab.JSON
    assert parse_task(there_and_back.text) == parse_task(FULL_TASK)


@pytest.mark.django_db
def test_a_row_that_json_would_swallow_keeps_the_user_in_the_form() -> None:
    editor = changed(edit_document(minimal_task()), "flag:threads")
    stays = changed(editor, "to-json")
    assert stays.tab is Tab.FORM
    assert stays.note
    assert stays.form == editor.form


@pytest.mark.django_db
def test_the_cheaper_search_is_set_on_both_tabs() -> None:
    for editor in (edit_document(minimal_task()), edit_json(json.dumps(minimal_task()))):
        cheaper = changed(editor, "cheaper")
        spec = parse_task(cheaper.source)
        assert cheaper.tab is editor.tab
        assert (spec.optimization.strategy.value, spec.optimization.max_iterations) == (
            "bayesian",
            40,
        )


@pytest.mark.django_db
def test_rows_are_added_and_removed_by_their_keys() -> None:
    editor = switched(edit_document(minimal_task()), "add:slo", "flag:ctx-size", "add:constraints")
    editor = switched(editor, "remove:parameters:0", "remove:nothing:1", "nonsense")
    assert editor.form
    assert [row.cells["name"] for row in editor.form.rows["parameters"]] == ["parallel", "ctx-size"]
    assert len({row.key for row in editor.form.rows["parameters"]}) == 2
    assert len(editor.form.rows["slo"]) == len(editor.form.rows["constraints"]) == 1


def test_a_form_that_no_page_sent_is_read_all_the_same() -> None:
    data = QueryDict(mutable=True)
    data.setlist("parameters-name", ["a", "b"])
    data.setlist("parameters-row", ["<script>", "0", "0", "0"])
    form = posted_form(data)
    assert set(form.values) == set(SINGLE_NAMES)
    keys = [row.key for row in form.rows["parameters"]]
    assert len(set(keys)) == 4
    assert all(re.fullmatch("[0-9a-z]+", key) for key in keys)
