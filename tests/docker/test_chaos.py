"""Whatever is killed, and whenever: no container is left, and nobody else's is touched."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from docker import DockerClient
from docker.models.containers import Container

from controllers.base import DeploymentIdentity
from controllers.docker_engine import docker_address
from tests.chaos.test_killed_worker import kill_with_children
from tests.docker.conftest import LEASE_S, Cluster, Containers, Document
from tests.docker.relay import Relay
from tests.e2e.conftest import Installation as CommandLine
from tests.fake_engine.image import IMAGE, TAG
from tests.services import wait_until
from tuning.domain.lifecycle import TaskStatus
from tuning.orchestrator.control import request_cancel

pytestmark = pytest.mark.slow

REMOVED_WITHIN_S = 120 * LEASE_S / 60
"""What is promised for the product's own lease of 60 s, as a share of it, on top of the time that
a new worker takes to start."""
START_S = 30


@pytest.fixture
def endless(fake_task: Document) -> Document:
    """One configuration whose measurement has to be stopped."""
    fake_task["parameters"] = {"parallel": [4], "token-ms": 2}
    fake_task["benchmark"]["max_requests_per_iteration"] = 100_000
    return fake_task


def test_a_killed_worker_leaves_no_container_and_the_task_goes_on(
    cluster: Cluster, fake_task: Document
) -> None:
    fake_task["parameters"] = {"parallel": [4], "token-ms": 25}
    task = cluster.queue(fake_task)
    worker = cluster.start_worker()
    orphan = cluster.wait_until_measuring(task)
    kill_with_children(worker.pid)
    assert orphan.id in ids(cluster.containers.all())
    cluster.start_worker()
    wait_until(
        lambda: orphan.id not in ids(cluster.containers.all()),
        f"the orphan's end\n{cluster.output()}",
        START_S + REMOVED_WITHIN_S,
    )
    assert cluster.wait_for_end_of(task).state is TaskStatus.COMPLETED
    experiment = task.experiments.get()
    assert (experiment.status, experiment.attempt) == ("SUCCESS", 2)
    assert cluster.containers.all() == []


def test_a_cancel_removes_the_container_while_the_engine_starts_and_while_it_is_measured(
    cluster: Cluster, endless: Document
) -> None:
    cluster.start_worker()
    measured = cluster.queue(endless)
    cluster.wait_until_measuring(measured)
    assert request_cancel(measured.pk)
    cluster.containers.wait_for_none(15)
    assert cluster.wait_for_end_of(measured).state is TaskStatus.CANCELLED
    endless["parameters"]["never-ready"] = True
    starting = cluster.queue(endless)
    cluster.containers.wait_for_one()
    assert request_cancel(starting.pk)
    cluster.containers.wait_for_none(15)
    assert cluster.wait_for_end_of(starting).state is TaskStatus.CANCELLED


def test_serve_removes_at_its_start_what_a_killed_one_left(
    cluster: Cluster, endless: Document
) -> None:
    task = cluster.queue(endless)
    serve = cluster.start_serve()
    orphan = cluster.wait_until_measuring(task)
    cluster.kill_all_of(serve)
    assert orphan.id in ids(cluster.containers.all())
    request_cancel(task.pk)
    cluster.start_serve()
    cluster.containers.wait_for_none(START_S + REMOVED_WITHIN_S)
    assert cluster.wait_for_end_of(task).state is TaskStatus.CANCELLED


def test_a_sweep_touches_nothing_of_others(cluster: Cluster, client: DockerClient) -> None:
    ours = DeploymentIdentity(cluster.containers.instance, 901, 902, 1)
    theirs = DeploymentIdentity("elsewhere", 901, 902, 1)
    foreign = [
        sleeper(client, "unlabelled-of-somebody", {}),
        sleeper(client, theirs.name, theirs.labels),
        # Made by hand, of an image or a command line with our labels.
        sleeper(client, "copy-of-ours", ours.labels),
        sleeper(client, f"{ours.name}-old", {**ours.labels, "autotuner/task": "x"}),
    ]
    orphan = sleeper(client, ours.name, ours.labels)
    try:
        cluster.start_worker()
        wait_until(lambda: orphan.id not in ids(cluster.containers.all()), "a sweep", 60)
        wait_until(cluster.sweeps_since_now(2), "two more sweeps", 30)
        running = ids(client.containers.list(ignore_removed=True))
        assert [one.name for one in foreign if one.id not in running] == []
        assert "Traceback" not in cluster.output()
    finally:
        for container in foreign:
            container.remove(force=True)


def test_a_docker_engine_that_goes_away_is_a_clear_failure_and_no_hang(
    command_line: CommandLine, endless: Document, containers: Containers, tmp_path: Path
) -> None:
    with Relay(tmp_path / "docker.sock", docker_address() or "") as relay:
        command_line.env["DOCKER_HOST"] = relay.address
        process = command_line.start(command_line.task_file(endless), "--json")
        command_line.wait_for(lambda: command_line.statuses() == ["BENCHMARKING"])
        relay.cut()
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    failure = json.loads(stdout)["experiments"][0]["failure"]
    assert failure["kind"] == "engine_missing"
    assert "has not answered for 10 s" in failure["message"]
    assert "Traceback" not in stdout
    # It could not be removed. Whoever goes on does that, once the engine is back.
    (left,) = containers.all()
    command_line.env["DOCKER_HOST"] = docker_address() or ""
    again = command_line.start("--resume", "1")
    wait_until(lambda: left.id not in ids(containers.all()), "the removal of what was left", 60)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)


def test_no_docker_engine_at_all_is_one_line_before_anything_is_created(
    command_line: CommandLine, fake_task: Document, tmp_path: Path
) -> None:
    command_line.env["DOCKER_HOST"] = f"unix://{tmp_path}/nothing.sock"
    done = command_line.run(command_line.task_file(fake_task))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("CommandError: deployment_mode: No Docker engine can be reached")
    assert "Start Docker" in line
    assert command_line.query("SELECT * FROM tuning_task") == []


def sleeper(client: DockerClient, name: str, labels: dict[str, str]) -> Container:
    container: Container = client.containers.run(
        f"{IMAGE}:{TAG}",
        ["-c", "import time; time.sleep(600)"],
        entrypoint=["python3"],
        name=name,
        labels=labels,
        detach=True,
    )
    return container


def ids(containers: list[Container]) -> set[str]:
    return {str(one.id) for one in containers}
