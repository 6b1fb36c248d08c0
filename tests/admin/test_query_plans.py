"""Lists of one status go through an index, however many experiments there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.admin.addresses import list_of
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.estimates import estimated_experiment_s
from tuning.models import Experiment, Task
from tuning.progress import best_so_far

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans"),
]


def plans_of(work: Callable[[], object]) -> list[list[str]]:
    """For each query over experiments, the steps of SQLite's plan."""
    with CaptureQueriesContext(connection) as captured:
        work()
    asked = [
        query["sql"]
        for query in captured.captured_queries
        if query["sql"].startswith("SELECT") and 'FROM "tuning_experiment"' in query["sql"]
    ]
    assert asked
    with connection.cursor() as cursor:
        plans = []
        for sql in asked:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plans.append([str(row[3]) for row in cursor.fetchall()])
    return plans


@pytest.mark.parametrize("status", ["FAILED", "PENDING", "SUCCESS"])
def test_the_admins_filter_by_status_neither_scans_nor_sorts(
    superuser: Client, seeding: Seeding, status: str
) -> None:
    seeding.task(experiments=4)
    address = f"{list_of(Experiment)}?status__exact={status}"
    for plan in plans_of(lambda: superuser.get(address)):
        assert "(status=?)" in plan[0], plan
        assert not any(step.startswith("SCAN tuning_experiment") for step in plan)
        assert not any("TEMP B-TREE" in step for step in plan)


def test_a_status_within_tasks_is_looked_up_within_those_tasks(seeding: Seeding) -> None:
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=4))
    spec = task.parsed_spec()
    for work in (
        lambda: estimated_experiment_s(spec),
        lambda: best_so_far(task, spec.objective),
    ):
        for plan in plans_of(work):
            assert "task_id=?" in plan[0], plan
