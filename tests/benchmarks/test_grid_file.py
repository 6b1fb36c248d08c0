"""A grid that was measured here can be kept and replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from benchmarks.curves.recorded import read_families
from benchmarks.replay.grid_file import (
    DURATION,
    NotAGrid,
    UnreadableGrid,
    grid_of,
    main,
    read_grid,
    this_machine,
)
from benchmarks.replay.sources import load_families
from tests.benchmarks.grids import LATENCY, THROUGHPUT, grid
from tests.domain.task_files import minimal_task
from tuning.domain.lifecycle import ExperimentEvent
from tuning.domain.measuring.loads import Load
from tuning.domain.spec import parse_task
from tuning.models import Experiment, Measurement, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.control import submit
from tuning.orchestrator.lease import claim


def measured_task(third: ExperimentEvent = ExperimentEvent.FAILED) -> Task:
    """A grid of four with the baseline, of which the third crashed or was pruned; speed is 10 times
    threads. Nothing is verified."""
    task = submit(parse_task(minimal_task(optimization={"verification": 0})))
    for number in range(5):
        (experiment_id,) = advance(task.pk).ready
        lease = claim(experiment_id, "elsewhere/1/1.00")
        assert lease is not None
        experiment = Experiment.objects.get(pk=experiment_id)
        lease.move(ExperimentEvent.ENGINE_READY, deploy_s=0.25)
        if number == 3:
            failure = {"failure_kind": "crashed", "failure_message": "Exit code 1."}
            fields: dict[str, Any] = failure if third is ExperimentEvent.FAILED else {}
            lease.end(third, finished_at=timezone.now(), **fields)
            continue
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


def ended(task: Task) -> Task:
    assert advance(task.pk).finished
    task.refresh_from_db()
    return task


@pytest.mark.django_db
class TestKeeping:
    def test_a_task_is_replayed_as_it_was_measured(self, tmp_path: Path) -> None:
        kept = grid_of(ended(measured_task()), "two-cores")
        (tmp_path / "two-cores.grid.json").write_text(kept.as_text(), encoding="utf-8")
        families = {family.traffic: family for family in load_families(tmp_path)}
        assert set(families) == {"e2e_latency_mean_s", "output_throughput_tokens_per_s"}
        family = families["output_throughput_tokens_per_s"]
        assert len(family.configurations) == 4
        assert family.best == 20.0
        assert family.failing_share == 0.25

    def test_it_tells_machine_engine_task_loads_and_the_baseline(self) -> None:
        kept = grid_of(ended(measured_task()), "two-cores")
        assert kept.machine == this_machine()
        assert kept.machine.cores >= 1
        assert kept.engine.name == "llamacpp"
        assert kept.task["optimization"]["seed"] == 0
        assert [(one.scenario, one.concurrency) for one in kept.loads] == [("D(100,100)", 1)]
        assert kept.baseline is not None
        assert kept.baseline.deploy_s == 0.25
        (row,) = kept.points_of(kept.baseline).values()
        assert row[DURATION] == 1.0
        assert row["output_throughput_tokens_per_s"] == 10.0
        assert "ttft_mean_s" not in row

    def test_a_task_that_still_runs_is_none(self) -> None:
        with pytest.raises(NotAGrid, match="only a task that has ended"):
            grid_of(measured_task(), "two-cores")

    def test_a_task_that_has_pruned_is_none(self) -> None:
        with pytest.raises(NotAGrid, match=r'pruned 1 experiments.*"pruning": "off"'):
            grid_of(ended(measured_task(ExperimentEvent.PRUNED)), "two-cores")

    def test_the_command_prints_the_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        task = ended(measured_task())
        assert main([str(task.pk), "--system", "two-cores"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["system"] == "two-cores"
        assert len(document["configurations"]) == 4

    def test_a_task_that_is_not_there_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["4711", "--system", "nothing"]) == 2
        assert "4711" in capsys.readouterr().err


def written(folder: Path, name: str, **changed: Any) -> Path:
    path = folder / f"{name}.grid.json"
    path.write_text(grid(**changed).as_text(), encoding="utf-8")
    return path


class TestReading:
    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        assert read_grid(written(tmp_path, "chat")) == grid()

    def test_each_configuration_has_a_line(self, tmp_path: Path) -> None:
        lines = written(tmp_path, "chat").read_text(encoding="utf-8").splitlines()
        assert sum('"parameters": {"threads"' in line for line in lines) == 13

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"wall_s": "long"}, "wall_s"),
            ({"machine": {"cores": 2}}, "machine.processor"),
            ({"noise": 0.1}, "noise"),
            ({"columns": ["duration_s"]}, "1 columns"),
            ({"loads": []}, "0 loads"),
        ],
    )
    def test_a_file_that_is_none_is_refused_by_field(
        self, tmp_path: Path, change: dict[str, Any], named: str
    ) -> None:
        path = written(tmp_path, "chat")
        document = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(document | change), encoding="utf-8")
        with pytest.raises(UnreadableGrid, match=rf"chat\.grid\.json.*{named}"):
            read_grid(path)

    def test_a_file_that_is_no_json_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "broken.grid.json"
        path.write_text("{", encoding="utf-8")
        with pytest.raises(UnreadableGrid, match=r"broken\.grid\.json"):
            read_grid(path)


class TestReplaying:
    def test_the_same_system_under_another_load_is_kin_by_the_same_objective(
        self, tmp_path: Path
    ) -> None:
        for traffic in ("chat", "documents"):
            written(tmp_path, traffic, system=f"two-cores-{traffic}")
        kin = {family.name: family.kin for family in load_families(tmp_path)}
        for metric in (LATENCY.metric, THROUGHPUT.metric):
            found = kin[f"own/two-cores-chat@{metric}"]
            assert found is not None
            assert found.name == f"own/two-cores-documents@{metric}"

    def test_curves_have_the_loads_and_seconds_of_what_was_measured_whole(
        self, tmp_path: Path
    ) -> None:
        whole = grid()
        first = whole.configurations[0]
        part = first.model_copy(update={"points": (*first.points[:2], None)})
        written(tmp_path, "chat", configurations=(part, *whole.configurations[1:]))
        (family,) = read_families(tmp_path)
        assert family.name == "own/two-cores-chat@D(16,12)"
        assert family.loads == [Load("D(16,12)", users) for users in (1, 2, 4)]
        assert len(family.configurations) == 10
        assert family.configurations[0][Load("D(16,12)", 1)][THROUGHPUT.metric] == 12.0
        assert DURATION not in family.metrics
        assert family.seconds[0] == dict.fromkeys(family.loads, 2.0)

    def test_a_folder_without_records_names_what_is_known(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"silicon.*grid\.json.*results\.json"):
            read_families(tmp_path)
