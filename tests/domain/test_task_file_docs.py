"""docs/TASK_FILE.md is complete, and what it shows is right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.domain.task_files import minimal_task
from tuning.domain.metrics import LATENCY_FAMILIES, LATENCY_STATISTICS, METRICS
from tuning.domain.objectives import NAMED_OBJECTIVES
from tuning.domain.spec import SearchStrategy, TaskSpec, parse_task
from tuning.domain.spec_errors import Section
from tuning.domain.spec_objective import MetricObjective
from tuning.domain.spec_parameters import ChoiceForm, FloatRangeForm, IntRangeForm
from tuning.domain.spec_slo import LimitForm, OlderLimitForm

PAGE = (Path(__file__).parents[2] / "docs" / "TASK_FILE.md").read_text(encoding="utf-8")


def _paths(model: type[Section], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        yield f"{prefix}{name}"
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _paths(annotation, f"{prefix}{name}.")


FIELDS = [
    *_paths(TaskSpec),
    *_paths(MetricObjective, "objective."),
    *(name for form in (IntRangeForm, FloatRangeForm) for name in form.model_fields),
    *(name for form in (LimitForm, OlderLimitForm) for name in form.model_fields),
]


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_is_documented(path: str) -> None:
    assert f"`{path}`" in PAGE


def test_the_older_form_of_a_list_is_documented() -> None:
    assert all(f'"{name}"' in PAGE for name in ChoiceForm.model_fields)


@pytest.mark.parametrize(
    "word",
    [
        *NAMED_OBJECTIVES,
        *SearchStrategy,
        *LATENCY_FAMILIES,
        *LATENCY_STATISTICS,
        *(name for name in METRICS if not name.startswith(tuple(LATENCY_FAMILIES))),
    ],
)
def test_every_word_that_a_field_takes_is_documented(word: str) -> None:
    assert f"`{word}`" in PAGE


SNIPPETS = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_example_is_read(snippet: str) -> None:
    if snippet.startswith("{"):
        parse_task(snippet)
        return
    section = json.loads(f"{{{snippet}}}")
    flags = {"tp-size": [1], "dp-size": [1], "flash-attn": [True], "cache-type-k": ["f16"]}
    parse_task(minimal_task(**({"parameters": flags} | section)))


@pytest.mark.parametrize("default", ["600", "10", "100", "4", "1", "0", "true"])
def test_defaults_of_the_models_are_those_of_the_page(default: str) -> None:
    spec = parse_task(minimal_task()).to_document()
    written = {
        json.dumps(value) for part in ("optimization", "benchmark") for value in spec[part].values()
    }
    assert default in written or f"{default}.0" in written
    assert f"| `{default}` |" in PAGE
