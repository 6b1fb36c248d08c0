"""What was stored before a migration still means the same after it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

THEN = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_experiments_of_before_there_were_purposes(task_document: dict[str, Any]) -> None:
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    executor.migrate([("tuning", "0006_cluster_failure_kinds")])
    older = executor.loader.project_state([("tuning", "0006_cluster_failure_kinds")]).apps
    task = older.get_model("tuning", "Task").objects.create(name="old", spec=task_document)
    experiments = older.get_model("tuning", "Experiment").objects
    made = [
        experiments.create(
            task=task,
            number=number,
            configuration_hash=str(number),
            status="SUCCESS",
            attempt=1,
            objective_value=1.0,
            score=1.0,
            finished_at=THEN,
        )
        for number in (0, 1)
    ]
    for concurrency, failed in ((1, 0), (4, 3)):
        older.get_model("tuning", "Measurement").objects.create(
            experiment=made[1],
            scenario="D(8,8)",
            concurrency=concurrency,
            metrics={},
            num_requests=10,
            num_failed_requests=failed,
            duration_s=1.0,
        )

    executor = MigrationExecutor(connection)
    executor.migrate(newest)

    from tuning.models import Experiment

    rows = Experiment.objects.order_by("number").values_list(
        "purpose", "num_requests", "num_failed_requests", "original", "objective_values"
    )
    assert list(rows) == [("baseline", 0, 0, None, {}), ("search", 20, 3, None, {})]
