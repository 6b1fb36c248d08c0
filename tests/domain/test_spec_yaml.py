"""Task files in YAML: read as their author meant them, or refused with the place."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.task_files import FULL_TASK, OLDER_TASK, minimal_task
from tuning.domain.spec import InvalidTask, parse_task
from tuning.domain.spec_document import MAX_BYTES
from tuning.domain.spec_yaml import read_task_text, read_yaml

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
)
DOCUMENTS = st.dictionaries(
    st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=8),
    max_size=5,
)


def problems_in(text: str | bytes) -> dict[str, str]:
    with pytest.raises(InvalidTask) as caught:
        read_yaml(text)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("document", [minimal_task(), OLDER_TASK, FULL_TASK])
def test_a_task_reads_the_same_from_yaml(document: dict[str, Any]) -> None:
    text = yaml.safe_dump(document, sort_keys=False)
    assert parse_task(read_yaml(text)) == parse_task(document)
    assert parse_task(read_task_text(text.encode())) == parse_task(document)


@given(DOCUMENTS)
def test_what_pyyaml_writes_is_read_back_or_refused_but_never_changed(
    document: dict[str, Any],
) -> None:
    text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    try:
        read = read_yaml(text)
    except InvalidTask as invalid:
        messages = [problem.message for problem in invalid.problems]
    else:
        assert json.dumps(read) == json.dumps(document)
        return
    assert all("put it in quotes" in message for message in messages)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("12", 12),
        ("-3", -3),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1.5e-3", 0.0015),
        ("plain text", "plain text"),
        ('"on"', "on"),
        ("'2024-01-02'", "2024-01-02"),
        ("!!str 12", "12"),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_plain_values(written: str, value: object) -> None:
    read = read_yaml(f"key: {written}")["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("on", "write true or false"),
        ("No", "write true or false"),
        ("1e3", "read in several ways"),
        ("0o17", "read in several ways"),
        ("0x1f", "read in several ways"),
        ("1_000", "read in several ways"),
        ("1:30", "read in several ways"),
        ("2024-01-02", "is a date"),
        ("2024-01-02T10:00:00Z", "is a date"),
        ("!!binary aGk=", "has a tag"),
        ("!!set {a}", "has a tag"),
        ("!!python/object/apply:os.system [ls]", "has a tag"),
        ("!own x", "has a tag"),
        ("&name [1]", "has an anchor"),
    ],
)
def test_what_is_ambiguous_or_no_json_is_refused_by_its_path(written: str, message: str) -> None:
    assert message in problems_in(f"a:\n  b:\n  - 1\n  - {written}\n")["a.b[1]"]


def test_all_such_values_are_reported_at_once() -> None:
    assert set(problems_in("a: on\nb: [2024-01-02]\nc: {<<: 1}")) == {"a", "b[0]", "c"}


def test_a_billion_laughs_cost_nothing() -> None:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "is an alias" in problems_in("\n".join(lines))["a1[0]"]


def test_an_anchor_within_itself_is_refused() -> None:
    assert problems_in("a: &a [*a]")["a[0]"] == "is an alias; write its value out"


def test_a_key_written_twice_is_a_problem_of_the_task() -> None:
    with pytest.raises(InvalidTask, match="model: is written twice"):
        parse_task(read_yaml("model: {id_or_path: a}\nmodel: {id_or_path: b}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2", "not YAML: .* at line 2, column 2"),
        ("a: 1\n\tb: 2", "not YAML: .* at line 2, column"),
        ("a: \x01", "not YAML"),
        (b"a: \xff", "not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ("a: " * 60 + "1", "not YAML"),
        ("x" * (MAX_BYTES + 1), "larger than"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("? [a]\n: 1", "key that is not a text"),
        ("1: 2", "key that is not a text"),
        ("- 1", "keys and values at its top level"),
        ("", "keys and values at its top level"),
        ("just words", "keys and values at its top level"),
    ],
)
def test_a_file_that_is_no_task_says_what_is_wrong(text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidTask, match=message):
        read_task_text(text)


def test_json_is_told_by_its_brace() -> None:
    assert read_task_text('\ufeff {"a": "on", "b": 1e3}') == {"a": "on", "b": 1000.0}
    with pytest.raises(InvalidTask, match=r"not JSON: .* line 1, column 6"):
        read_task_text('{"a":}')
