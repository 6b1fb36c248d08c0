"""What a dead worker left behind goes back into the queue, a few times."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import psutil
import pytest
from django.utils import timezone

from tests.orchestrator.recording import OWNER
from tuning.domain.lifecycle import MAX_RETRIES, ExperimentStatus
from tuning.models import Experiment, Lease, Task
from tuning.orchestrator.advance import advance
from tuning.orchestrator.lease import claim, lease_times, process_name, this_process
from tuning.orchestrator.reaper import return_abandoned_experiments

pytestmark = pytest.mark.django_db

MakeTask = Callable[..., Task]


def let_the_lease_run_out() -> None:
    Lease.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=lease_times().lease_s + 1))


def test_a_live_lease_is_left_alone(make_task: MakeTask) -> None:
    claim(advance(make_task().pk).ready[0], this_process())
    assert return_abandoned_experiments() == ()
    assert Lease.objects.exists()


def test_a_lease_that_ran_out_puts_the_experiment_back(make_task: MakeTask) -> None:
    (experiment_id,) = advance(make_task().pk).ready
    claim(experiment_id, OWNER)
    let_the_lease_run_out()
    assert return_abandoned_experiments() == (experiment_id,)
    experiment = Experiment.objects.get(pk=experiment_id)
    assert experiment.state is ExperimentStatus.PENDING
    assert not Lease.objects.exists()
    assert return_abandoned_experiments() == ()


def test_after_the_last_retry_it_fails_as_lost_worker(make_task: MakeTask) -> None:
    task = make_task()
    (experiment_id,) = advance(task.pk).ready
    for _ in range(MAX_RETRIES + 1):
        assert claim(experiment_id, OWNER) is not None
        let_the_lease_run_out()
        return_abandoned_experiments()
    experiment = Experiment.objects.get(pk=experiment_id)
    assert experiment.state is ExperimentStatus.FAILED
    assert experiment.failure_kind == "lost_worker"
    assert claim(experiment_id, OWNER) is None


def test_a_dead_process_of_this_host_is_not_waited_for(make_task: MakeTask) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = process_name(child.pid, psutil.Process(child.pid).create_time())
    (experiment_id,) = advance(make_task().pk).ready
    claim(experiment_id, owner)
    assert return_abandoned_experiments() == ()
    child.kill()
    child.wait()
    assert return_abandoned_experiments() == (experiment_id,)
