"""A grid that was measured here can be kept and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.utils import timezone

from benchmarks.replay.grid_file import grid_document, main
from benchmarks.replay.sources import load_families
from tests.domain.task_files import minimal_task
from tuning.domain.lifecycle import ExperimentEvent
from tuning.domain.spec import parse_task
from tuning.models import Experiment, Measurement, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import submit
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db


def measured_task() -> Task:
    """A grid of four of which the third crashed; speed is 10 times threads."""
    task = submit(parse_task(minimal_task()))
    for number in range(5):
        (experiment_id,) = advance(task.pk).ready
        lease = claim(experiment_id, "elsewhere/1/1.00")
        assert lease is not None
        experiment = Experiment.objects.get(pk=experiment_id)
        if number == 3:
            lease.end(
                ExperimentEvent.FAILED,
                failure_kind="crashed",
                failure_message="Exit code 1.",
                finished_at=timezone.now(),
            )
            continue
        lease.move(ExperimentEvent.ENGINE_READY)
        speed = 10.0 * int(experiment.parameters.get("threads", 1))
        Measurement.objects.create(
            experiment=experiment,
            scenario="D(100,100)",
            concurrency=1,
            metrics={"output_throughput_tokens_per_s": speed, "e2e_latency_mean_s": 1 / speed},
            num_requests=4,
            duration_s=1.0,
        )
        lease.end(
            ExperimentEvent.MEASURED,
            objective_value=1 / speed,
            score=1 / speed,
            finished_at=timezone.now(),
        )
    return task


def test_a_grid_of_a_task_is_replayed_as_it_was_measured(tmp_path: Path) -> None:
    document = grid_document(measured_task(), "two-cores")
    assert document["engine"] == "llamacpp"
    document["objectives"] = [
        one for one in document["objectives"] if one["metric"] == "output_throughput_tokens_per_s"
    ]
    (tmp_path / "two-cores.grid.json").write_text(json.dumps(document), encoding="utf-8")
    (family,) = load_families(tmp_path)
    assert len(family.configurations) == 4
    assert family.best == 20.0
    assert family.failing_share == 0.25


def test_a_task_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["4711", "--system", "nothing"]) == 2
    assert "4711" in capsys.readouterr().err
