"""What `run_task` says at its end: the gain with its interval, marks, and the front."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.seeding import Seeding
from tuning import formatting
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.verdict import Finding, GainVerdict
from tuning.models import Experiment, Task
from tuning.reports import task_report
from tuning.terminal.summary import FAILED_MARK, print_summary

pytestmark = pytest.mark.django_db


def printed(task_id: int) -> str:
    text = io.StringIO()
    report = task_report(Task.objects.get(pk=task_id))
    print_summary(Console(file=text, width=400), report)
    return text.getvalue()


def test_the_gain_has_its_interval(seeding: Seeding) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=8)
    seeding.verify(task_id, (1.0, 1.02, 0.99))
    verdict = GainVerdict.of_document(Task.objects.get(pk=task_id).verdicts[0])
    assert verdict.finding is Finding.BETTER

    text = printed(task_id)

    assert formatting.verdict_sentence(verdict) in text
    assert "In the search it was " in text
    assert "Gain: " not in text
    assert f"success (verification of {verdict.number}, round 3)" in text
    assert FAILED_MARK not in text


def test_without_verification_it_says_so(seeding: Seeding) -> None:
    text = printed(seeding.task(fate=TaskStatus.COMPLETED, experiments=8))

    assert "The gain is not verified" in text


def test_failed_requests_are_marked_and_counted(seeding: Seeding) -> None:
    task_id = seeding.task(fate=TaskStatus.COMPLETED, experiments=8)
    best = Task.objects.get(pk=task_id).best_experiment
    assert best is not None
    Experiment.objects.filter(pk=best.pk).update(num_requests=100, num_failed_requests=2)

    text = printed(task_id)
    value = formatting.metric("e2e_latency_mean_s", best.objective_value)

    assert f"{value} {FAILED_MARK}" in text
    assert f"{FAILED_MARK} Experiment {best.number}: 2 of 100 requests failed." in text
    assert "2 of the winner's requests failed" in text


def test_several_objectives_have_a_front(seeding: Seeding) -> None:
    task_id = seeding.task(
        fate=TaskStatus.COMPLETED,
        experiments=12,
        objective=["minimize_latency", "maximize_throughput"],
    )
    task = Task.objects.get(pk=task_id)
    best = task.best_experiment
    assert best is not None

    text = printed(task_id)

    assert "e2e_latency_mean_s ▼" in text
    assert "output tokens/s ▲" in text
    assert f"Experiment {best.number} (knee): " in text
    assert len(task_report(task).front) == text.split("knee is suggested:\n")[1].count("  Exp")
