"""What pages and API show and do of a container that a worker runs."""

from __future__ import annotations

import pytest
from django.test import override_settings

from tests.docker.conftest import Cluster, Document
from tests.fake_engine.image import IMAGE, TAG
from tuning.system.containers import container_log, list_containers, stop_container

pytestmark = pytest.mark.slow


def test_a_running_engine_is_shown_with_its_task_and_can_be_stopped(
    cluster: Cluster, fake_task: Document
) -> None:
    fake_task["parameters"] = {"parallel": [4]}
    fake_task["benchmark"]["max_requests_per_iteration"] = 100_000
    task = cluster.queue(fake_task)
    cluster.start_worker()
    cluster.wait_until_measuring(task)
    with override_settings(AUTOTUNER_INSTANCE=cluster.containers.instance):
        (shown,) = (one for one in list_containers().containers if one.is_ours)
        assert (shown.task_id, shown.experiment_id) == (task.pk, task.experiments.get().pk)
        assert (shown.state, shown.image) == ("running", f"{IMAGE}:{TAG}")
        assert shown.memory_mib is not None
        assert "INFO: listening on 0.0.0.0:8000" in container_log(shown.name)
        stop_container(shown.name)
    cluster.containers.wait_for_none(5)
    cluster.wait_for_end_of(task)
    experiment = task.experiments.get()
    assert (experiment.status, experiment.failure_kind) == ("FAILED", "crashed")
