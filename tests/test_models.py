"""The database itself refuses rows that contradict one another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection

from tuning.models import Experiment, LogChunk, Measurement, Task

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


def experiment(task: Task, **fields: Any) -> Experiment:
    defaults: dict[str, Any] = {"task": task, "number": 1, "configuration_hash": "a"}
    return Experiment.objects.create(**{**defaults, **fields})


THEN = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "SLEEPING"},
        {"status": "SUCCESS", "attempt": 1, "finished_at": THEN},
        {"status": "FAILED", "attempt": 1, "finished_at": THEN},
        {"status": "CANCELLED"},
        {"status": "DEPLOYING", "attempt": 0},
        {"status": "PENDING", "finished_at": THEN},
        {"status": "PENDING", "failure_kind": "crashed"},
    ],
    ids=str,
)
def test_a_contradictory_experiment_is_refused(make_task: MakeTask, fields: dict[str, Any]) -> None:
    task = make_task()
    with pytest.raises(IntegrityError):
        experiment(task, **fields)


def test_a_configuration_is_tried_once_per_task(make_task: MakeTask) -> None:
    task = make_task()
    experiment(task)
    with pytest.raises(IntegrityError):
        experiment(task, number=2)


@pytest.mark.parametrize(
    "fields", [{"status": "COMPLETED", "finished_at": THEN}, {"status": "FAILED"}]
)
def test_a_contradictory_task_is_refused(make_task: MakeTask, fields: dict[str, Any]) -> None:
    task = make_task()
    with pytest.raises(IntegrityError):
        Task.objects.filter(pk=task.pk).update(**fields)


@pytest.mark.parametrize(
    "fields", [{"num_failed_requests": 5}, {"concurrency": 0}, {"duration_s": -1.0}]
)
def test_a_contradictory_measurement_is_refused(
    make_task: MakeTask, fields: dict[str, Any]
) -> None:
    measured = experiment(make_task())
    values: dict[str, Any] = {
        "scenario": "D(1,2)",
        "concurrency": 1,
        "metrics": {},
        "num_requests": 4,
        "duration_s": 1.0,
    }
    with pytest.raises(IntegrityError):
        Measurement.objects.create(experiment=measured, **{**values, **fields})


def test_an_empty_log_chunk_is_refused(make_task: MakeTask) -> None:
    with pytest.raises(IntegrityError):
        LogChunk.objects.create(task=make_task(), first_seq=2, last_seq=1, lines=[])


def test_flags_keep_the_order_of_the_file(make_task: MakeTask) -> None:
    flags = ["threads", "flash-attn", "parallel", "mlock"]
    values = {flag: [1, 2] for flag in flags}
    task = Task.objects.get(pk=make_task(parameters=values).pk)
    assert list(task.spec["parameters"]) == flags
    launched = experiment(task, parameters=dict.fromkeys(flags, 1))
    launched.refresh_from_db()
    assert list(launched.parameters) == flags


def test_a_task_is_found_by_what_it_says(make_task: MakeTask) -> None:
    task = make_task()
    found = Task.objects.filter(
        spec__model=task.spec["model"], spec__base_runtime=task.spec["base_runtime"]
    )
    assert list(found) == [task]
    assert not Task.objects.filter(spec__model={"id_or_path": "another"}).exists()
    part_of_its_name = task.spec["model"]["id_or_path"][1:].upper()
    assert list(Task.objects.matching(part_of_its_name)) == [task]
    (engine,) = Task.objects.values_list("spec__base_runtime", flat=True)
    assert engine == task.spec["base_runtime"]


def test_the_embedded_database_runs_in_wal_mode() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("another database")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
