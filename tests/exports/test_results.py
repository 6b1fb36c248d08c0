"""Results and task files: everything is in them, and programs read it back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml

from tests.exports.conftest import NASTY_FLAGS
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import parse_task
from tuning.exports import EXPORTS, ExportFormat, export_results, filename
from tuning.models import Measurement, Task

Finished = Callable[..., Task]


def rows_of(task: Task) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export_results(task, ExportFormat.CSV).content)))


def documents_of(task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    as_json = export_results(task, ExportFormat.JSON).content
    as_yaml = export_results(task, ExportFormat.YAML).content
    return json.loads(as_json), yaml.safe_load(as_yaml)


def test_json_and_yaml_are_one_document_with_everything(finished: Finished) -> None:
    task = finished(parameters=NASTY_FLAGS)
    document, same = documents_of(task)
    best = document["experiments"][document["best_experiment"]]

    assert document == same
    assert document["task_id"] == task.pk
    assert parse_task(document["spec"]) == task.parsed_spec()
    assert document["gain_over_baseline"] is not None
    assert best["parameters"] == NASTY_FLAGS
    assert best["environment"]["engine_version"] == "0.9.2"
    assert best["slo_verdicts"]
    measured = [len(one["measurements"]) for one in document["experiments"]]
    assert sum(measured) == Measurement.objects.filter(experiment__task=task).count()


def test_results_tell_nothing_of_where_this_host_keeps_them(finished: Finished) -> None:
    document, _ = documents_of(finished())

    assert "log_file" not in document


@pytest.mark.parametrize("kind", ["task-json", "task-yaml"])
def test_a_task_file_can_be_imported_again(finished: Finished, kind: str) -> None:
    task = finished(sections={"description": 'naïve "quotes": yes\n- no', "runtime_image_tag": "1"})
    content = EXPORTS[kind](task).content

    assert parse_task(yaml.safe_load(content)) == task.parsed_spec()


def test_csv_has_one_row_for_each_measurement(finished: Finished) -> None:
    task = finished()
    rows = rows_of(task)
    measurements = Measurement.objects.filter(experiment__task=task).select_related("experiment")

    assert len(rows) == len(measurements) > 0
    first, row = measurements.order_by("experiment__number", "pk")[0], rows[0]
    assert (row["experiment"], row["is_baseline"]) == ("0", "true")
    assert (row["scenario"], row["concurrency"]) == (first.scenario, str(first.concurrency))
    for name, value in first.metrics.items():
        assert float(row[name]) == value
    assert task.best_experiment is not None
    best = {row["experiment"] for row in rows if row["is_best"] == "true"}
    assert best == {str(task.best_experiment.number)}


def test_csv_has_a_column_for_each_flag_and_no_formula(finished: Finished) -> None:
    flags = {"plain": "fcfs", "on": True, "negative": -1, "f": "=1+1", "p": "+1", "a": "@x"}
    task = finished(parameters={**flags, "m": "-1"})
    row = next(row for row in rows_of(task) if row["is_best"] == "true")

    found = {name: row[f"parameters.{name}"] for name in (*flags, "m")}
    assert found == {
        "plain": "fcfs",
        "on": "true",
        "negative": "-1",
        "f": "'=1+1",
        "p": "'+1",
        "a": "'@x",
        "m": "'-1",
    }


def test_a_draft_has_results_without_rows(seeding: Seeding) -> None:
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.DRAFT))
    document, same = documents_of(task)

    assert rows_of(task) == []
    assert document == same
    assert document["experiments"] == []
    assert "No experiment has succeeded" in export_results(task, ExportFormat.HTML).content


class Outside(HTMLParser):
    """Collects what a page would run or fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fetching = {"src", "href", "srcset", "action"}
        self.found += [(tag, name) for name, _ in attrs if name in fetching or name[:2] == "on"]
        if tag in {"script", "link", "iframe", "object", "img", "base"}:
            self.found.append((tag, ""))


def test_the_report_is_one_file_that_runs_and_fetches_nothing(finished: Finished) -> None:
    task = finished(parameters={"x": "<script>alert(1)</script>"})
    text = export_results(task, ExportFormat.HTML).content
    outside = Outside()
    outside.feed(text)

    assert outside.found == []
    assert "&lt;script&gt;" in text


def test_the_report_says_what_won_and_how_to_deploy_it(finished: Finished) -> None:
    task = finished()
    text = export_results(task, ExportFormat.HTML).content
    best = task.best_experiment

    assert best is not None
    assert f"Experiment {best.number}" in text
    assert "over the baseline" in text
    assert "docker run --rm" in text
    assert "kind: InferenceService" in text
    assert "Xeon 8480+" in text
    assert text.count("<tr") >= 1 + task.experiments.count()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama 3.1 / chat", "task-7-llama-3-1-chat-results.csv"),
        ("../../etc; x\r\n", "task-7-etc-x-results.csv"),
        ("漢字", "task-7-results.csv"),
        ("x" * 100, f"task-7-{'x' * 60}-results.csv"),
    ],
)
def test_file_names_are_tame(name: str, expected: str) -> None:
    assert filename(Task(pk=7, name=name), "results", "csv") == expected
