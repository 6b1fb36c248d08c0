"""The page of a task: its head, the best so far, and its fragments."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.seeding import Seeding
from tests.web.task_pages import page_of, row_of
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.parameters import Choices, Fixed, FloatRange, IntRange, Parameter
from tuning.domain.spec import parse_task
from tuning.models import Experiment, Task
from tuning.orchestrator.control import submit
from tuning.web.task_page import EXPORTS, described

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true", "HX-Target": "head"}
Browser = Callable[[User], Client]


@pytest.fixture
def browser(owner: User, browser_of: Browser) -> Client:
    return browser_of(owner)


def test_a_running_task_shows_progress_and_what_runs(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(experiments=8, fate=TaskStatus.RUNNING)
    running = Experiment.objects.get(task=task_id, status="BENCHMARKING")
    head = page_of(browser, task_id, **HTMX)
    assert '<progress value="7" max="14"' in head
    assert "7 of 14 experiments" in head
    assert f'href="/experiments/{running.pk}/">Experiment 7</a>' in head
    assert re.search(r'<running-clock seconds="\d+" step="-1">', head)


def test_a_paused_task_has_no_time_to_go(seeding: Seeding, browser: Client) -> None:
    head = page_of(browser, seeding.task(fate=TaskStatus.PAUSED), **HTMX)
    assert "to go" not in head


def test_the_best_comes_with_its_gain_verdicts_and_metrics(
    seeding: Seeding, browser: Client
) -> None:
    task = Task.objects.get(pk=seeding.task(experiments=8, fate=TaskStatus.COMPLETED))
    best = task.best_experiment
    assert best is not None
    baseline = task.experiments.get(number=0)
    assert best.objective_value is not None
    assert baseline.objective_value is not None
    page = page_of(browser, task.pk)
    section = page[page.index('<section id="best"') : page.index('<section id="experiments"')]
    gain = (baseline.objective_value - best.objective_value) / baseline.objective_value
    assert f"{gain * 100:+.0f} %" in section
    assert f'href="/experiments/{best.pk}/"' in section
    assert section.count("✓ met") == 3
    assert "D(512,128), concurrency" in section
    for label in ("TTFT p50", "TPOT p50", "E2E latency p99", "output throughput"):
        assert label in section
    assert f"<dt>chunked-prefill-size</dt><dd>{best.parameters['chunked-prefill-size']}" in section
    assert 'class="is-best"' in row_of(page, best.number)
    assert 'class="is-baseline"' in row_of(page, 0)


def test_a_task_without_a_baseline_has_a_best_and_no_gain(
    seeding: Seeding, browser: Client
) -> None:
    task_id = seeding.task(index=2, experiments=5, fate=TaskStatus.RUNNING)
    Experiment.objects.filter(task=task_id, number=0).delete()
    page = page_of(browser, task_id)
    assert "the gain is not known" in page
    assert 'class="is-best"' in page
    assert 'class="is-baseline"' not in page


def test_the_baseline_may_be_the_best(seeding: Seeding, browser: Client) -> None:
    task_id = seeding.task(experiments=4, fate=TaskStatus.RUNNING)
    Experiment.objects.filter(task=task_id, number=0).update(score=1e-6)
    page = page_of(browser, task_id)
    assert "No other configuration is better" in page
    assert 'class="is-best"' in row_of(page, 0)


def test_a_failed_task_says_why(seeding: Seeding, browser: Client) -> None:
    page = page_of(browser, seeding.task(fate=TaskStatus.FAILED))
    assert "Every configuration failed" in page
    assert "No best configuration" in page
    hint = Failure(FailureKind.OUT_OF_MEMORY, "").hint
    assert page.count(f'title="{hint}">out of memory') == 8
    assert f"<dt>Out of memory</dt><dd>{hint}</dd>" in page


def test_a_draft_says_what_it_would_do(
    task_in: Callable[[TaskStatus], Task], browser: Client
) -> None:
    page = page_of(browser, task_in(TaskStatus.DRAFT).pk)
    assert "This is a draft" in page
    assert "it will measure 5 configurations" in page
    assert "to verify the winner" not in page
    assert "at most 1 load point each" in page
    assert "A draft has no experiments." in page
    assert 'hx-trigger="load' not in page


def test_a_draft_says_how_its_winner_would_be_verified(
    task_document: dict[str, Any], owner: User, browser: Client
) -> None:
    task_document["optimization"]["verification"] = 3
    task_document["optimization"]["pruning"] = "off"
    task = submit(parse_task(task_document), owner=owner)
    Task.objects.filter(pk=task.pk).update(status=TaskStatus.DRAFT.value)
    page = page_of(browser, task.pk)
    assert "it will measure 5 configurations" in page
    assert "launch two of them again, 6 times together, to verify the winner: 1 load" in page


@pytest.mark.parametrize(
    ("target", "has", "has_not"),
    [
        ("head", ['id="head"'], ['id="best"', "experiment-rows", "<html"]),
        ("experiments", ["experiment-rows", 'id="live"'], ['id="head"', 'id="best"', "<html"]),
        ("live", ['id="head"', 'id="best"', "experiment-rows"], ["task-file", "<html"]),
        ("content", ["<html"], []),
    ],
)
def test_fragments(
    target: str, has: list[str], has_not: list[str], seeding: Seeding, browser: Client
) -> None:
    task_id = seeding.task(fate=TaskStatus.RUNNING)
    answer = page_of(browser, task_id, **{"HX-Request": "true", "HX-Target": target})
    assert [part for part in has if part not in answer] == []
    assert [part for part in has_not if part in answer] == []


def test_every_part_that_a_live_update_swaps_is_on_the_page_once(
    seeding: Seeding, browser: Client
) -> None:
    page = page_of(browser, seeding.task(fate=TaskStatus.RUNNING), "?sort=-number")
    swapped = re.search(r'hx-select-oob="([^"]+)"', page)
    assert swapped is not None
    for part in swapped[1].split(","):
        assert page.count(f'id="{part.strip("#")}"') == 1
    assert 'hx-get="/tasks/' in page
    assert "?sort=-number" in page[page.index('id="live"') :][:200]


def test_the_page_offers_every_export_and_the_task_file(seeding: Seeding, browser: Client) -> None:
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED))
    page = page_of(browser, task.pk)
    for kind, _ in EXPORTS:
        assert f'href="/tasks/{task.pk}/export/{kind}/"' in page
    assert "&quot;task_name&quot;: &quot;llama-3.1-8b chat latency 1&quot;" in page
    assert f'hx-get="/tasks/{task.pk}/charts/"' in page
    assert f'hx-get="/tasks/{task.pk}/winner/"' in page


def test_what_a_user_wrote_is_text(
    owner: User, task_document: dict[str, Any], browser: Client
) -> None:
    evil = "<script>alert(1)</script>"
    spec = parse_task({**task_document, "task_name": evil, "description": evil})
    page = page_of(browser, submit(spec, owner=owner).pk)
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("experiments", [6, 130])
def test_the_number_of_queries_does_not_grow(
    experiments: int,
    seeding: Seeding,
    viewer: User,
    browser_of: Browser,
    django_assert_max_num_queries: Any,
) -> None:
    task_id = seeding.task(index=2, experiments=experiments, fate=TaskStatus.RUNNING)
    client = browser_of(viewer)
    with django_assert_max_num_queries(15):
        page_of(client, task_id)
    with django_assert_max_num_queries(10):
        page_of(client, task_id, **HTMX)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        (Fixed(True), "on"),
        (Choices((1, 2.5, "lpm", False)), "1, 2.5, lpm, off"),
        (IntRange(1, 8), "1 to 8"),
        (IntRange(2048, 16384, 2048), "2048 to 16384 in steps of 2048"),
        (IntRange(32, 512, log=True), "32 to 512, doubling"),
        (
            IntRange(1, 1_000_000, 3, log=True),
            "1 to 1000000 in steps of 3, small values more often",
        ),
        (FloatRange(0.8, 0.95, 0.01), "0.8 to 0.95 in steps of 0.01"),
        (FloatRange(1e-05, 1.0, log=True), "1e-05 to 1.0, small values more often"),
    ],
)
def test_parameters_in_words(parameter: Parameter, words: str) -> None:
    assert described(parameter) == words
