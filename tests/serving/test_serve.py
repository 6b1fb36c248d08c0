"""`manage.py serve` with real programs: a queued task, deaths, Ctrl-C, a second start."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
from typing import Any

import httpx
import pytest

from tests.e2e.test_run_task import sleeping_engine
from tests.serving.conftest import Place

pytestmark = pytest.mark.slow

Document = dict[str, Any]


def test_a_queued_task_finishes_and_ctrl_c_leaves_nothing(
    place: Place, one_configuration: Document
) -> None:
    serving = place.serve()
    assert httpx.get(place.url, trust_env=False).status_code < 500
    redis_socket = place.data_dir / "redis.sock"
    assert stat.S_IMODE(redis_socket.stat().st_mode) == 0o700
    second = place.manage("serve", "--port", str(place.port))
    queued = place.queue(one_configuration, "--wait", "--json")
    assert second.end() == 2
    assert f"Another `manage.py serve` (process {serving.process.pid})" in second.output
    assert queued.end(90) == 0, f"{queued.output}\n{serving.output}"
    assert json.loads(queued.output)["status"] == "COMPLETED"
    assert place.installation.statuses() == ["SUCCESS"]
    assert place.installation.query("SELECT driver, time_limit_s FROM tuning_task") == [("", 7200)]
    assert serving.stop(signal.SIGINT) == 0, serving.output
    assert "Traceback" not in serving.output
    place.has_nothing_left()


def test_each_program_that_is_killed_is_noticed_and_started_again(
    place: Place, one_configuration: Document
) -> None:
    serving = place.serve()
    serving.wait_for(lambda: place.child("worker"))
    for name in ("web", "worker", "redis"):
        killed = place.child(name)
        assert killed, f"{name} is not there"
        os.kill(killed, signal.SIGKILL)
        serving.wait_for_text(f"{name} was killed by SIGKILL", timeout_s=5)
    for name in ("web", "worker", "redis"):
        serving.wait_for_text(f"{name} runs again")
    assert httpx.get(place.url, trust_env=False).status_code < 500
    # The worker of all three finds the new Redis by itself.
    queued = place.queue(one_configuration, "--wait")
    assert queued.end(90) == 0, f"{queued.output}\n{serving.output}"
    assert serving.stop(signal.SIGTERM) == 0
    place.has_nothing_left()


def test_ctrl_c_in_the_middle_of_an_experiment_loses_nothing(
    place: Place, one_configuration: Document
) -> None:
    requests = one_configuration["benchmark"]["max_requests_per_iteration"]
    one_configuration["benchmark"]["max_requests_per_iteration"] = 100_000
    serving = place.serve()
    queued = place.queue(one_configuration)
    assert queued.end() == 0
    assert "Task 1 is queued." in queued.output
    serving.wait_for(lambda: place.installation.statuses() == ["BENCHMARKING"])
    assert serving.stop(signal.SIGINT) == 0
    assert "was killed" not in serving.output
    assert "and is killed" not in serving.output
    place.has_nothing_left()
    assert place.installation.engines() == []
    assert place.installation.statuses() == ["PENDING"]
    assert place.installation.task_status() == "RUNNING"
    assert place.installation.query("SELECT attempt FROM tuning_experiment") == [(0,)]
    with sqlite3.connect(place.data_dir / "autotuner.db") as database:
        database.execute(
            "UPDATE tuning_task"
            " SET spec = json_set(spec, '$.benchmark.max_requests_per_iteration', ?)",
            [requests],
        )
    serving = place.serve()
    serving.wait_for(lambda: place.installation.task_status() == "COMPLETED", 90)
    assert place.installation.query("SELECT attempt FROM tuning_experiment") == [(1,)]
    assert serving.stop(signal.SIGINT) == 0
    place.has_nothing_left()


def test_a_killed_serve_leaves_nothing_that_stops_the_next_one(
    place: Place, one_configuration: Document
) -> None:
    place.installation.env["AUTOTUNER_LLAMA_SERVER"] = str(sleeping_engine(place.installation))
    killed = place.serve()
    assert place.queue(one_configuration).end() == 0
    killed.wait_for(place.installation.engines)
    killed.stop(signal.SIGKILL)
    (engine,) = place.installation.engines()
    del place.installation.env["AUTOTUNER_LLAMA_SERVER"]
    serving = place.serve()
    assert serving.output.count("which a killed `serve` left behind") == 3
    assert not engine.is_running()
    serving.wait_for(lambda: place.installation.task_status() == "COMPLETED", 90)
    assert serving.stop(signal.SIGHUP) == 0
    place.has_nothing_left()


def test_a_worker_without_serve_stops_in_the_same_way(
    place: Place, one_configuration: Document
) -> None:
    place.installation.env["AUTOTUNER_LLAMA_SERVER"] = str(sleeping_engine(place.installation))
    place.serve("--no-worker")
    assert place.queue(one_configuration).end() == 0
    for number, command in (
        (signal.SIGTERM, ["-m", "celery", "-A", "autotuner_site", "worker"]),
        (signal.SIGINT, ["manage.py", "worker", "--concurrency", "1"]),
    ):
        worker = place.run(*command)
        worker.wait_for(place.installation.engines)
        worker.stop(number, timeout_s=20)
        assert place.installation.engines() == []
        assert place.installation.statuses() == ["PENDING"]
        assert place.installation.query("SELECT attempt FROM tuning_experiment") == [(0,)]
    assert place.installation.query("SELECT cancel_requested_at FROM tuning_task") == [(None,)]


def test_without_a_broker_the_task_is_stored_and_the_user_is_told(
    place: Place, one_configuration: Document
) -> None:
    queued = place.queue(one_configuration)
    assert queued.end() == 0
    assert "Task 1 is queued." in queued.output
    assert "No broker answers" in queued.output
    assert place.installation.task_status() == "PENDING"
