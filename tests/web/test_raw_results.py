"""Raw results of an experiment, and the files of its benchmark."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from tests.web.experiment_pages import page_of
from tuning.models import Experiment, Task
from tuning.web import raw_files

pytestmark = pytest.mark.django_db


def test_raw_results_say_which_point_they_belong_to(task: Task, browser: Client) -> None:
    experiment = task.experiments.get(number=0)
    response = browser.get(f"/experiments/{experiment.pk}/raw/")
    assert response["Content-Type"] == "application/json"
    assert f'filename="task_{task.pk}_experiment_0_raw.json"' in response["Content-Disposition"]
    document = json.loads(response.content)
    assert (document["task_id"], document["number"]) == (task.pk, 0)
    assert document["parameters"] == {"ctx-size": 4096}
    taken = [
        (one["scenario"], one["concurrency"], one["repeat"]) for one in document["measurements"]
    ]
    assert taken == [("D(64,32)", 1, 0), ("D(64,32)", 2, 0), ("D(64,32)", 4, 0)]
    assert document["measurements"][0]["raw"] == {
        "num_requests": 100,
        "stats": {"ttft": {"mean": 0.1}},
    }


@pytest.fixture
def files_of(tmp_path: Path, settings: Settings) -> Callable[[Experiment], Path]:
    """The directory of an experiment's results, with two files, and with a link out of it."""
    settings.AUTOTUNER_RESULTS_DIR = tmp_path / "results"

    def make(experiment: Experiment) -> Path:
        name = f"task_{experiment.task_id}/experiment_{experiment.number}/results"
        directory = tmp_path / "results" / name
        directory.mkdir(parents=True)
        (directory / "000_D64_32.json").write_text('{"aggregated_metrics": {}}')
        (directory / "experiment_metadata.json").write_text("{}")
        (directory.parent / "private.txt").write_text("not a result")
        (directory / "way_out.json").symlink_to(directory.parent / "private.txt")
        (directory / "folder").mkdir()
        return directory

    return make


def test_the_files_of_the_benchmark_come_as_a_zip(
    task: Task, browser: Client, files_of: Callable[[Experiment], Path]
) -> None:
    experiment = task.experiments.get(number=1)
    files_of(experiment)
    assert "?format=zip" in page_of(browser, experiment)
    response = browser.get(f"/experiments/{experiment.pk}/raw/?format=zip")
    assert f'filename="task_{task.pk}_experiment_1_raw.zip"' in response["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(response.getvalue())) as archive:
        assert archive.namelist() == ["000_D64_32.json", "experiment_metadata.json"]
        assert json.loads(archive.read("000_D64_32.json")) == {"aggregated_metrics": {}}


def test_no_zip_where_there_are_no_files(
    task: Task, browser: Client, files_of: Callable[[Experiment], Path]
) -> None:
    files_of(task.experiments.get(number=1))
    other = task.experiments.get(number=2)
    assert "?format=zip" not in page_of(browser, other)
    response = browser.get(f"/experiments/{other.pk}/raw/?format=zip")
    assert response.status_code == 404
    assert "are not on this host" in response.content.decode()


def test_too_much_for_one_download_is_refused(
    task: Task,
    browser: Client,
    files_of: Callable[[Experiment], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment = task.experiments.get(number=1)
    files_of(experiment)
    monkeypatch.setattr(raw_files, "LARGEST_ARCHIVE_BYTES", 10)
    response = browser.get(f"/experiments/{experiment.pk}/raw/?format=zip")
    assert response.status_code == 400
    assert "too large" in response.content.decode()
