"""Whatever is killed or cancelled, and whenever: no object is left in the cluster."""

from __future__ import annotations

import pytest

from tests.chaos.test_killed_worker import kill_with_children
from tests.cluster.cluster import Cluster
from tests.cluster.engines import claim
from tests.cluster.installation import Document
from tests.cluster.objects import serving_runtime
from tests.cluster.workers import LEASE_S, Workers
from tests.services import wait_until
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Task
from tuning.orchestrator.control import request_cancel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REMOVED_WITHIN_S = 120 * LEASE_S / 60 + 30
"""What is promised for the product's own lease of 60 s, as a share of it, on top of the time that
a new worker takes to start."""


@pytest.fixture
def endless(fake_task: Document) -> Document:
    """One configuration whose measurement has to be stopped."""
    fake_task["parameters"] = {"tp-size": [1], "max-running-requests": 4}
    fake_task["benchmark"]["max_requests_per_iteration"] = 100_000
    return fake_task


@pytest.fixture
def by_job(cluster: Cluster, namespace: str, endless: Document) -> Document:
    """The same, measured by a BenchmarkJob."""
    claim(cluster, namespace, "results")
    endless["ome"] |= {"measuring": "benchmark_job", "results_storage": "pvc://results/autotuner"}
    del endless["benchmark"]["model_tokenizer"]
    return endless


def uids(cluster: Cluster, namespace: str, kind: str) -> set[str]:
    return {one["metadata"]["uid"] for one in cluster.all(kind, namespace)}


def wait_for_none(cluster: Cluster, namespace: str, but: tuple[str, ...] = ()) -> None:
    wait_until(
        lambda: set(cluster.left_in(namespace)) <= set(but),
        f"the end of {cluster.left_in(namespace)}",
        REMOVED_WITHIN_S,
    )


def test_a_killed_worker_leaves_no_object_and_the_task_goes_on(
    cluster: Cluster, namespace: str, workers: Workers, fake_task: Document
) -> None:
    cluster.create(serving_runtime(namespace, "slow", "--token-ms", "25"))
    fake_task["parameters"] = {"tp-size": 1, "max-running-requests": [4]}
    fake_task["ome"]["runtime"] = "slow"
    task = workers.queue(fake_task)
    worker = workers.start()
    workers.wait_until_measuring(task)
    (orphan,) = uids(cluster, namespace, "InferenceService")
    kill_with_children(worker.pid)
    assert uids(cluster, namespace, "InferenceService") == {orphan}
    workers.start()
    wait_until(
        lambda: orphan not in uids(cluster, namespace, "InferenceService"),
        f"the orphan's end\n{workers.output()}",
        REMOVED_WITHIN_S,
    )
    assert workers.wait_for_end_of(task).state is TaskStatus.COMPLETED
    experiment = task.experiments.get()
    assert (experiment.status, experiment.attempt) == ("SUCCESS", 2)
    wait_for_none(cluster, namespace, ("ServingRuntime/slow",))
    cluster.delete("ServingRuntime", "slow", namespace)


def test_a_job_goes_with_the_worker_that_was_killed(
    cluster: Cluster, namespace: str, workers: Workers, by_job: Document
) -> None:
    task = workers.queue(by_job)
    worker = workers.start()
    workers.wait_until_measuring(task)
    wait_until(lambda: cluster.all("Job", namespace), "the job", 30)
    kill_with_children(worker.pid)
    assert request_cancel(task.pk)
    workers.start()
    wait_for_none(cluster, namespace)
    assert workers.wait_for_end_of(task).state is TaskStatus.CANCELLED


def test_a_cancel_removes_all_while_the_engine_starts_and_while_it_is_measured(
    cluster: Cluster, namespace: str, workers: Workers, endless: Document
) -> None:
    workers.start()
    measured = workers.queue(endless)
    workers.wait_until_measuring(measured)
    assert request_cancel(measured.pk)
    assert workers.wait_for_end_of(measured).state is TaskStatus.CANCELLED
    wait_for_none(cluster, namespace)

    cluster.create(serving_runtime(namespace, "slow", "--never-ready"))
    endless["ome"]["runtime"] = "slow"
    starting = workers.queue(endless)
    wait_until(lambda: cluster.pod_processes(namespace), "an engine that starts", 60)
    assert request_cancel(starting.pk)
    assert workers.wait_for_end_of(starting).state is TaskStatus.CANCELLED
    wait_for_none(cluster, namespace, ("ServingRuntime/slow",))
    cluster.delete("ServingRuntime", "slow", namespace)


def test_a_cancel_removes_a_job_that_measures(
    cluster: Cluster, namespace: str, workers: Workers, by_job: Document
) -> None:
    workers.start()
    task = workers.queue(by_job)
    wait_until(lambda: cluster.all("Job", namespace), f"the job\n{workers.output()}", 90)
    assert request_cancel(task.pk)
    assert workers.wait_for_end_of(task).state is TaskStatus.CANCELLED
    wait_for_none(cluster, namespace)


def test_an_engine_waits_for_room_and_is_measured_once_there_is_some(
    cluster: Cluster, namespace: str, workers: Workers, fake_task: Document
) -> None:
    for node in ("gpu-a", "gpu-b"):
        cluster.create(cards_taken(namespace, node))
    fake_task["parameters"] = {"tp-size": [2], "max-running-requests": 4}
    task = workers.queue(fake_task)
    workers.start()
    waits = "Insufficient nvidia.com/gpu"
    wait_until(lambda: waits in log_of(task), f"the scheduler's word\n{workers.output()}", 60)
    assert task.experiments.get().status == "DEPLOYING"
    for node in ("gpu-a", "gpu-b"):
        cluster.delete("Pod", f"taker-{node}", namespace)
    assert workers.wait_for_end_of(task).state is TaskStatus.COMPLETED


def log_of(task: Task) -> str:
    chunks = task.log_chunks.values_list("lines", flat=True)
    return "\n".join(text for lines in chunks for _, _, text in lines)


def cards_taken(namespace: str, node: str) -> Document:
    """A pod that has seven of a node's eight GPUs."""
    container = {
        "name": "taker",
        "image": "busybox:1.36",
        "command": ["sleep", "600"],
        "resources": {"limits": {"nvidia.com/gpu": "7"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"taker-{node}", "namespace": namespace},
        "spec": {
            "containers": [container],
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
        },
    }
