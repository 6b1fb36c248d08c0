"""What is wrong with a task, told at the input that it was typed into."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.web.new_task_pages import PREVIEW, Page, posted
from tuning.models import Task


@pytest.fixture
def owner(db: None) -> User:
    """Without a password, whose hash takes longer than any page."""
    return User.objects.create(username="owner")


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


WRONG: list[tuple[str, Any, str]] = [
    ("task_name", "", "task_name"),
    ("task_name", "x" * 101, "task_name"),
    ("task_name", "a\0b", "task_name"),
    ("description", "x" * 10_001, "description"),
    ("base_runtime", "vlm", "base_runtime"),
    ("base_runtime", "", "base_runtime"),
    ("deployment_mode", "cloud", "deployment_mode"),
    ("model__id_or_path", " ", "model-id_or_path"),
    ("model__namespace", "n" * 64, "model-namespace"),
    ("runtime_image", "image:tag", "runtime_image"),
    ("runtime_image_tag", "a\0b", "runtime_image_tag"),
    ("benchmark__model_name", "\0", "benchmark-model_name"),
    ("benchmark__model_tokenizer", "\0", "benchmark-model_tokenizer"),
    ("optimization__strategy", "clairvoyant", "optimization-strategy"),
    ("optimization__strategy", "random", "optimization-max_iterations"),
    ("objectives-name", ["fastest"], "objectives-2"),
    ("objectives-name", ["metric"], "objectives-2"),
    ("objectives-name", ["maximize_goodput"], "benchmark-num_concurrency"),
    ("optimization__warm_start", "similar", "optimization-warm_start"),
    ("optimization__warm_start", "sometimes", "optimization-warm_start"),
    ("optimization__warm_start", "named", "optimization-warm_start-tasks"),
    ("optimization__verification", "1", "optimization-verification"),
    ("optimization__pruning", "boldly", "optimization-pruning"),
    ("optimization__max_iterations", "many", "optimization-max_iterations"),
    ("optimization__max_iterations", "0", "optimization-max_iterations"),
    ("optimization__max_iterations", "2.5", "optimization-max_iterations"),
    ("optimization__timeout_per_iteration", "-1", "optimization-timeout_per_iteration"),
    ("optimization__timeout_per_iteration", "1e400", "optimization-timeout_per_iteration"),
    ("optimization__seed", "9" * 30, "optimization-seed"),
    ("optimization__seed", "9" * 5000, "optimization-seed"),
    ("optimization__seed", "true", "optimization-seed"),
    ("benchmark__num_concurrency", "1, x", "benchmark-num_concurrency"),
    ("benchmark__num_concurrency", "1, 1", "benchmark-num_concurrency"),
    ("benchmark__num_concurrency", ",", "benchmark-num_concurrency"),
    ("benchmark__max_requests_per_iteration", "0", "benchmark-max_requests_per_iteration"),
    ("benchmark__max_time_per_iteration", "1.5", "benchmark-max_time_per_iteration"),
    ("benchmark__warmup", "-1", "benchmark-warmup"),
    ("benchmark__repeats", "1001", "benchmark-repeats"),
    ("benchmark__additional_params", "{", "benchmark-additional_params"),
    ("benchmark__additional_params", "[1]", "benchmark-additional_params"),
    ("benchmark__additional_params", '{"a": 1, "a": 2}', "benchmark-additional_params"),
    ("benchmark__additional_params", '{"a": NaN}', "benchmark-additional_params"),
    ("benchmark__additional_params", '{"a":' * 2000, "benchmark-additional_params"),
    ("parameters-name", ["threads", "--threads"], "parameters-7"),
    ("parameters-name", ["threads", "threads"], "parameters-7"),
    ("parameters-name", ["a b", "parallel"], "parameters-0"),
    ("parameters-name", ["", "parallel"], "parameters-0"),
    ("parameters-values", ["", "1"], "parameters-0"),
    ("parameters-values", ["1, 1", "1"], "parameters-0"),
    ("parameters-values", ["1", "9..1"], "parameters-7"),
    ("parameters-values", ["1", "1..9 step 0"], "parameters-7"),
    ("parameters-values", ["1", "0..9 log"], "parameters-7"),
    ("parameters-values", ["1", "0.1..0.9"], "parameters-7"),
    ("parameters-values", ["1", '"open'], "parameters-7"),
    ("parameters-values", ["1", "9" * 5000], "parameters-7"),
    ("parameters-values", ["1e400", "1"], "parameters-0"),
    ("constraints-text", ["threads <"], "constraints-0"),
    ("constraints-text", ["thread < 2"], "constraints-0"),
    ("constraints-text", ["__import__('os')"], "constraints-0"),
    ("scenarios-text", ["D(1)"], "scenarios-0"),
    ("slo-metric", ["ttft"], "slo-3"),
    ("slo-metric", [""], "slo-3"),
    ("slo-max", ["fast"], "slo-3"),
    ("slo-max", ["-1"], "slo-3"),
    ("slo-max", [""], "slo-3"),
    ("slo-min", ["9"], "slo-3"),
    ("slo-weight", ["x"], "slo-3"),
    ("slo-fail_ratio", ["-1"], "slo-3"),
    ("slo-steepness", ["0"], "slo-3"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "typed", "slot"), WRONG)
def test_wrong_input_is_told_at_its_field_and_stays(
    browser: Client, name: str, typed: Any, slot: str
) -> None:
    response = posted(browser, do="draft", **{name: typed})
    page = Page(response)

    assert response.status_code == 422
    assert page.errors.get(slot), page.errors
    assert f'href="#field-{slot}"' in page.text
    assert f"field-{slot}" in page.values
    assert not Task.objects.exists()
    for text in [typed] if isinstance(typed, str) else typed:
        assert escape(text.strip()) in page.text


@pytest.mark.parametrize(("name", "typed", "slot"), WRONG)
def test_the_preview_says_the_same_without_touching_an_input(
    browser: Client, name: str, typed: Any, slot: str
) -> None:
    page = Page(posted(browser, PREVIEW, **{name: typed}))
    assert page.errors.get(slot)
    assert not {"input", "select", "textarea"} & set(page.tags)
    assert page.text.count("hx-swap-oob") == sum(name.startswith("error-") for name in page.texts)
