"""The JSON Schema of the task file: published as it is, and never stricter than the parser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest
from jsonschema import Draft202012Validator
from pydantic.fields import FieldInfo

from tests.domain.task_files import FULL_TASK, OLDER_OME_TASK, OLDER_TASK, minimal_task
from tuning.domain.spec import parse_task, task_json_schema
from tuning.domain.spec_errors import Section

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.json"))
SCHEMA = task_json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_published_schema_is_the_present_one() -> None:
    """After a change of the models: python manage.py task_schema > docs/task.schema.json"""
    published = json.loads((ROOT / "docs" / "task.schema.json").read_text(encoding="utf-8"))
    assert published == SCHEMA


def test_the_schema_is_valid_in_its_own_dialect() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("document", [minimal_task(), OLDER_TASK, OLDER_OME_TASK, FULL_TASK])
def test_task_files_validate_as_written_and_as_normalised(document: dict[str, Any]) -> None:
    for form in (document, parse_task(document).to_document()):
        assert [error.message for error in VALIDATOR.iter_errors(form)] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_every_example_is_a_task_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [error.message for error in VALIDATOR.iter_errors(json.loads(text))] == []
    parse_task(text)


@pytest.mark.parametrize(
    "document",
    [
        minimal_task(deployment_mod="ome"),
        minimal_task(model={}),
        minimal_task(parameters={"a": []}),
        minimal_task(parameters={"a": {"type": "int", "low": 1}}),
        minimal_task(base_runtime="llama-3-2-1b-instruct-rt"),
        minimal_task(ome={"measuring": "job"}),
        minimal_task(slo={"ttft": {"p98": 1}}),
        minimal_task(slo={"ttft_p99_s": {"max": 1, "hrd": True}}),
        minimal_task(benchmark={"num_concurrency": ["4"]}),
        minimal_task(benchmark={"traffic_scenarios": []}),
        minimal_task(optimization={"objective": "minimise_latency"}),
    ],
)
def test_an_editor_can_show_common_mistakes(document: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(document)


def _models(base: type[Section] = Section) -> Iterator[type[Section]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


FIELDS = [
    pytest.param(field, id=f"{model.__name__}.{name}")
    for model in _models()
    for name, field in model.model_fields.items()
]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_says_what_it_is_and_has_a_default_or_an_example(field: FieldInfo) -> None:
    assert field.description
    is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    is_word = get_origin(field.annotation) is Literal
    assert not field.is_required() or field.examples or is_section or is_word
