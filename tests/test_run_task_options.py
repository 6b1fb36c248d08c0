"""What the command line of `run_task` says of measuring, instead of the task file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.domain.task_files import minimal_task
from tuning.domain.spec import InvalidTask
from tuning.domain.spec_sections import OmeMeasuring
from tuning.management.commands.run_task import run
from tuning.terminal.session import CannotRun, Overrides, load_spec

pytestmark = pytest.mark.django_db

JOB = Overrides(measuring=OmeMeasuring.BENCHMARK_JOB)
DIRECT = Overrides(measuring=OmeMeasuring.DIRECT)


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    return tmp_path / "task.json"


def write(task_file: Path, **sections: Any) -> Path:
    document = minimal_task(
        deployment_mode="ome", base_runtime="sglang", parameters={"tp-size": [1]}
    )
    task_file.write_text(json.dumps(document | sections))
    return task_file


def options(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = dict.fromkeys(
        ("task_file", "resume", "mode", "model_path", "max_iterations", "seed")
    )
    switches = ("direct", "benchmark_job", "json", "verbose", "dry_run", "queue", "wait")
    return given | dict.fromkeys(switches, False) | changes


def test_a_job_takes_the_place_of_measuring_from_here(task_file: Path) -> None:
    write(task_file, ome={"results_storage": "pvc://results/a"})
    assert not load_spec(task_file, Overrides()).is_measured_by_jobs
    assert load_spec(task_file, JOB).is_measured_by_jobs


def test_measuring_from_here_takes_the_place_of_a_job(task_file: Path) -> None:
    ome = {"measuring": "benchmark_job", "results_storage": "pvc://results/a", "runtime": "srt"}
    write(task_file, ome=ome)
    spec = load_spec(task_file, DIRECT)
    assert not spec.is_measured_by_jobs
    assert spec.ome.runtime == "srt"


def test_a_job_still_needs_storage(task_file: Path) -> None:
    with pytest.raises(InvalidTask, match=r"ome\.results_storage: must be given"):
        load_spec(write(task_file), JOB)


def test_a_job_is_for_a_cluster(task_file: Path) -> None:
    write(task_file, deployment_mode="docker", ome={"results_storage": "pvc://results/a"})
    with pytest.raises(CannotRun, match="this task's is docker"):
        load_spec(task_file, JOB)
    assert load_spec(task_file, DIRECT).deployment_mode == "docker"


def test_params_that_a_job_would_lose_are_refused(task_file: Path) -> None:
    write(
        task_file,
        ome={"results_storage": "pvc://results/a"},
        benchmark={"additional_params": {"top_p": 0.5}},
    )
    assert load_spec(task_file, DIRECT)
    with pytest.raises(InvalidTask, match=r"benchmark\.additional_params: has top_p"):
        load_spec(task_file, JOB)


def test_both_at_once_contradict_one_another(task_file: Path) -> None:
    with pytest.raises(CannotRun, match="contradict"):
        run(options(task_file=write(task_file), direct=True, benchmark_job=True))
