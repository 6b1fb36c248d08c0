"""Where further launches run: on the host that began, and all of them by one process."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tests.orchestrator.accelerators import FakeHost, live_worker
from tests.orchestrator.launches import MakeTask, launched_again, search, verdict_of, verified_task
from tests.orchestrator.recording import OWNER
from tests.orchestrator.test_parallel import Engines, measuring
from tuning.domain.lifecycle import ExperimentEvent, TaskStatus
from tuning.domain.verdict import Finding
from tuning.models import Experiment
from tuning.orchestrator.advance import advance
from tuning.orchestrator.drive import drive
from tuning.orchestrator.lease import claim

pytestmark = pytest.mark.django_db


def test_what_was_begun_on_a_host_goes_on_there(make_task: MakeTask) -> None:
    live_worker("elsewhere", gpus=0)
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0])
    (second,) = advance(task.pk).ready

    assert claim(second, "other/1/1.00") is None
    assert Experiment.objects.get(pk=second).only_on == "elsewhere"
    assert claim(second, OWNER) is not None


def test_a_host_without_a_worker_is_not_waited_for(make_task: MakeTask) -> None:
    task = verified_task(make_task)
    search(task)
    launched_again(task, [30.0])
    advance(task.pk)
    (second,) = advance(task.pk).ready

    lease = claim(second, "other/1/1.00")
    assert lease is not None
    lease.move(ExperimentEvent.ENGINE_READY)
    lease.end(
        ExperimentEvent.MEASURED, objective_value=10.0, score=10.0, finished_at=timezone.now()
    )
    live_worker("elsewhere", gpus=0)
    launched_again(task, [10.0, 30.0])
    assert advance(task.pk).finished
    assert "2 hosts" in verdict_of(task).reason


@pytest.mark.django_db(transaction=True)
def test_a_process_verifies_what_it_has_found(make_task: MakeTask) -> None:
    task = make_task(
        benchmark={"repeats": "auto"}, optimization={"verification": 2, "baseline": False}
    )
    host = FakeHost(gpus=0)
    engines = Engines(host)
    drive(task.pk, measuring(host, engines))

    assert verdict_of(task).finding is Finding.NO_DIFFERENCE, "every engine gives 50 tokens/s"
    assert task.state is TaskStatus.COMPLETED
    purposes = list(task.experiments.values_list("purpose", flat=True))
    assert purposes == ["search"] * 4 + ["repeat"] * 8 + ["verification"] * 4
    assert engines.most_at_once == 1
    assert engines.up == {}
    assert {one.host for one in task.experiments.all()} != {""}
