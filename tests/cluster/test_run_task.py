"""`manage.py run_task` in OME mode: real API server, scheduler and genai-bench, FakeEngine."""

from __future__ import annotations

import itertools
import json
import re
import signal
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.engines import claim
from tests.cluster.installation import Document
from tests.cluster.objects import serving_runtime
from tests.e2e.conftest import Installation as CommandLine
from tests.services import wait_until

pytestmark = pytest.mark.slow

FLAGS = {"tp-size": "tp_size", "max-running-requests": "slots"}
"""What FakeEngine calls the flags of its place in its own log."""


def engine_lines(report: Document) -> list[str]:
    """What the engines printed, as the task's log has it."""
    log = Path(report["log_file"]).read_text()
    return re.findall(r"Z engine +(.*)", log)


def flags_seen(report: Document) -> list[dict[str, int]]:
    """The flags that each engine says it was started with, in the order of the experiments."""
    started = [line for line in engine_lines(report) if "server_args=" in line]
    return [
        {flag: int(re.findall(rf"\b{name}=(\d+)", line)[0]) for flag, name in FLAGS.items()}
        for line in started
    ]


@pytest.mark.timeout(500)
@pytest.mark.parametrize("measuring", ["direct", "benchmark_job"])
def test_a_grid_of_four_is_measured_and_every_flag_reaches_its_engine(
    cluster: Cluster,
    namespace: str,
    command_line: CommandLine,
    fake_task: Document,
    measuring: str,
) -> None:
    fake_task["ome"]["measuring"] = measuring
    if measuring == "benchmark_job":
        claim(cluster, namespace, "results")
        fake_task["ome"]["results_storage"] = "pvc://results/autotuner"
        # OME decides which tokenizer a job's genai-bench has: the model's own.
        del fake_task["benchmark"]["model_tokenizer"]
    process = command_line.start(command_line.task_file(fake_task), "--json")
    # A job's genai-bench also draws its plots, which takes it longer than to measure.
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stdout + stderr
    report = json.loads(stdout)
    assert [one["status"] for one in report["experiments"]] == ["SUCCESS"] * 4
    configurations = [one["parameters"] for one in report["experiments"]]
    grid = itertools.product([1, 2], [1, 4])
    assert sorted(tuple(one.values()) for one in configurations) == sorted(grid)
    assert flags_seen(report) == configurations
    for experiment in report["experiments"]:
        (measured,) = experiment["measurements"]
        assert measured["num_failed_requests"] == 0
        assert measured["metrics"]["mean_output_tokens"] == 8
    best = report["experiments"][report["best_experiment"] - 1]
    assert best["parameters"]["max-running-requests"] == 4
    assert "--max-running-requests" in report["best_command"]


def test_each_pod_asks_for_the_gpus_that_its_flags_need(
    cluster: Cluster, namespace: str, command_line: CommandLine, fake_task: Document
) -> None:
    fake_task["parameters"] = {"tp-size": [2], "max-running-requests": 4}
    fake_task["benchmark"]["max_requests_per_iteration"] = 100_000
    process = command_line.start(command_line.task_file(fake_task))
    command_line.wait_for(lambda: command_line.statuses() == ["BENCHMARKING"])
    (pod,) = cluster.all("Pod", namespace)
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == "2"
    assert resources["requests"]["nvidia.com/gpu"] == "2"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert cluster.left_in(namespace) == []


def test_one_configuration_that_dies_leaves_the_others_alone(
    command_line: CommandLine, fake_task: Document
) -> None:
    # A node of the cluster has 8 GPUs.
    fake_task["parameters"] = {"tp-size": [16, 2], "max-running-requests": 4}
    done = command_line.run(command_line.task_file(fake_task), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    too_big, fitting = json.loads(done.stdout)["experiments"]
    assert too_big["status"] == "FAILED"
    assert fitting["status"] == "SUCCESS"


def test_after_a_kill_resume_removes_what_was_left_and_finishes(
    cluster: Cluster, namespace: str, command_line: CommandLine, fake_task: Document
) -> None:
    fake_task["parameters"] = {"tp-size": 1, "max-running-requests": [4]}
    process = command_line.start(command_line.task_file(fake_task))
    command_line.wait_for(lambda: command_line.statuses() == ["BENCHMARKING"])
    process.kill()
    process.communicate()
    (orphan,) = cluster.all("InferenceService", namespace)
    done = command_line.run("--resume", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    services = cluster.all("InferenceService", namespace)
    assert orphan["metadata"]["uid"] not in [one["metadata"]["uid"] for one in services]
    assert command_line.query("SELECT attempt, status FROM tuning_experiment") == [(2, "SUCCESS")]


def test_ctrl_c_while_the_engine_starts_leaves_no_object(
    cluster: Cluster, namespace: str, command_line: CommandLine, fake_task: Document
) -> None:
    cluster.create(serving_runtime(namespace, "slow", "--never-ready"))
    fake_task["ome"]["runtime"] = "slow"
    process = command_line.start(command_line.task_file(fake_task))
    wait_until(lambda: cluster.pod_processes(namespace), "an engine that starts", 60)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    # The namespace's own runtime is not the autotuner's.
    assert cluster.left_in(namespace) == ["ServingRuntime/slow"]
    cluster.delete("ServingRuntime", "slow", namespace, foreground=False)
