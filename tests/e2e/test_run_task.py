"""The main job on the real engine with the real model, and all that may go wrong in it."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.alone]

Document = dict[str, Any]


def test_it_measures_every_configuration_and_names_the_best(
    installation: Installation, task_document: Document
) -> None:
    task_document["parameters"] = {"parallel": [1, 2], "threads": 2, "ctx-size": 2048}
    task_document["benchmark"]["num_concurrency"] = [1, 2]
    task_document["optimization"]["pruning"] = "off"
    done = installation.run(installation.task_file(task_document), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == "COMPLETED"
    experiments = report["experiments"]
    assert [one["parameters"].get("parallel") for one in experiments] == [None, 1, 2]
    for experiment in experiments:
        assert experiment["status"] == "SUCCESS"
        measured = {one["concurrency"]: one for one in experiment["measurements"]}
        assert sorted(measured) == [1, 2]
        for measurement in measured.values():
            assert measurement["num_failed_requests"] == 0
            assert measurement["metrics"]["mean_output_tokens"] == 8
            assert 0 < measurement["metrics"]["ttft_p50_s"] < 30
    values = {one["number"]: one["objective_value"] for one in experiments}
    assert report["best_experiment"] == max(values, key=lambda number: values[number])
    assert report["best_command"][1:3] == ["-m", "controllers.engines.llamacpp_server"]
    log = Path(report["log_file"]).read_text()
    for source in ("engine", "benchmark", "orchestrator"):
        assert re.search(rf"Z {source} ", log)
    stored = installation.query("SELECT last_seq FROM tuning_logchunk ORDER BY last_seq DESC")
    assert stored[0][0] == len(log.splitlines())


def test_the_terminal_shows_the_table_the_verdict_and_how_to_start_the_winner(
    installation: Installation, task_document: Document
) -> None:
    task_document["parameters"] = {"parallel": [1, 4], "threads": 2, "ctx-size": 2048}
    task_document["optimization"] |= {"baseline": False, "verification": 2}
    done = installation.run(installation.task_file(task_document))
    assert done.returncode == 0, done.stderr
    assert "Best: " in done.stdout
    told = r"Measured again in turn with .* experiment [12] (is|shows) \w+"
    assert re.search(told, " ".join(done.stdout.split()))
    assert "Start it with:" in done.stdout
    assert "controllers.engines.llamacpp_server --model" in done.stdout
    assert installation.statuses() == ["SUCCESS"] * 6


def test_bad_input_is_told_all_at_once_and_creates_nothing(
    installation: Installation, task_document: Document
) -> None:
    task_document["benchmrk"] = task_document.pop("benchmark")
    task_document["parameters"]["threads"] = [1, 1]
    task_document["optimization"]["objective"] = "minimize_lateny"
    done = installation.run(installation.task_file(task_document))
    assert done.returncode == 2
    for text in ("benchmrk", "parameters.threads[1]", "optimization.objective"):
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert installation.query("SELECT * FROM tuning_task") == []


def test_a_missing_model_is_refused_before_anything_is_created(
    installation: Installation, task_document: Document
) -> None:
    task_document["model"]["id_or_path"] = "SmolLM3.gguf"
    done = installation.run(installation.task_file(task_document))
    assert done.returncode == 2
    assert "model.id_or_path" in done.stderr
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in done.stderr
    assert installation.query("SELECT * FROM tuning_task") == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "task file"),
        (["no-such-file.json"], "No such file"),
        (["--resume", "99"], "no task 99"),
        (["--resume", "1", "--seed", "3"], "--resume"),
    ],
)
def test_wrong_arguments_exit_with_two(
    installation: Installation, arguments: list[str], expected: str
) -> None:
    done = installation.run(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_prints_every_command_line_and_stores_nothing(
    installation: Installation, task_document: Document
) -> None:
    path = installation.task_file(task_document)
    done = installation.run(path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("controllers.engines.llamacpp_server") == 5
    assert "--threads 2 --parallel 4" in done.stdout
    assert "5 experiments, about" in done.stdout
    as_json = json.loads(installation.run(path, "--dry-run", "--json").stdout)
    assert [one["number"] for one in as_json["experiments"]] == [0, 1, 2, 3, 4]
    assert installation.query("SELECT * FROM tuning_task") == []


def test_a_bad_flag_fails_its_experiment_at_once_and_the_others_go_on(
    installation: Installation, task_document: Document
) -> None:
    task_document["parameters"] = {"cache-type-k": ["f16", "no-such-type"], "ctx-size": 2048}
    done = installation.run(installation.task_file(task_document), "--json")
    assert done.returncode == 0, done.stderr
    failed = json.loads(done.stdout)["experiments"][2]
    assert failed["failure"]["kind"] == "bad_flag"
    # Refused before it is launched, so that there is no log.
    assert "no-such-type" in failed["failure"]["message"]
    assert failed["failure"]["log_tail"] == []
    assert failed["attempt"] == 1
    assert installation.statuses() == ["SUCCESS", "SUCCESS", "FAILED"]


def test_when_nothing_succeeds_the_exit_code_is_one(
    installation: Installation, one_configuration: Document
) -> None:
    one_configuration["parameters"]["no-such-flag"] = 1
    done = installation.run(installation.task_file(one_configuration))
    assert done.returncode == 1
    assert "bad_flag" in done.stdout
    assert "No best configuration" in done.stdout
    assert installation.task_status() == "FAILED"


def test_an_engine_killed_while_it_is_measured_is_noticed(
    installation: Installation, one_configuration: Document
) -> None:
    one_configuration["benchmark"]["max_requests_per_iteration"] = 100_000
    process = installation.start(installation.task_file(one_configuration), "--json")
    installation.wait_for(lambda: installation.statuses() == ["BENCHMARKING"])
    (engine,) = installation.engines()
    engine.kill()
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    failure = json.loads(stdout)["experiments"][0]["failure"]
    assert failure["kind"] in {"crashed", "out_of_memory"}
    assert "SIGKILL" in failure["message"]


def test_an_engine_that_never_gets_healthy_is_given_up(
    installation: Installation, one_configuration: Document
) -> None:
    one_configuration["optimization"]["timeout_per_iteration"] = 2
    installation.env["AUTOTUNER_LLAMA_SERVER"] = str(sleeping_engine(installation))
    done = installation.run(installation.task_file(one_configuration), "--json")
    assert done.returncode == 1, done.stderr
    failure = json.loads(done.stdout)["experiments"][0]["failure"]
    assert failure["kind"] == "startup_timeout"
    assert "2 s" in failure["message"]


def test_a_port_taken_by_somebody_else_is_skipped(
    installation: Installation, one_configuration: Document
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        installation.env["AUTOTUNER_PORT_RANGE"] = f"{port}-{port + 20}"
        done = installation.run(installation.task_file(one_configuration), "--json")
    assert done.returncode == 0, done.stderr
    command = json.loads(done.stdout)["best_command"]
    assert port < int(command[command.index("--port") + 1]) <= port + 20


def test_when_no_port_is_free_it_is_tried_again_and_then_said(
    installation: Installation, one_configuration: Document
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        installation.env["AUTOTUNER_PORT_RANGE"] = f"{port}-{port}"
        done = installation.run(installation.task_file(one_configuration), "--json")
    assert done.returncode == 1, done.stderr
    experiment = json.loads(done.stdout)["experiments"][0]
    assert experiment["failure"]["kind"] == "port_taken"
    assert experiment["attempt"] == 3


def test_a_benchmark_that_can_not_start_fails_the_experiment(
    installation: Installation, one_configuration: Document
) -> None:
    one_configuration["benchmark"]["model_tokenizer"] = str(installation.data_dir / "nowhere")
    done = installation.run(installation.task_file(one_configuration), "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["experiments"][0]["failure"]["kind"] == "benchmark_failed"


def test_a_measurement_that_takes_too_long_is_stopped(
    installation: Installation, one_configuration: Document
) -> None:
    one_configuration["benchmark"]["max_requests_per_iteration"] = 100_000
    one_configuration["optimization"]["timeout_per_iteration"] = 8
    done = installation.run(installation.task_file(one_configuration), "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["experiments"][0]["failure"]["kind"] == "benchmark_timeout"


def test_a_broken_slo_keeps_the_measurement_and_no_winner(
    installation: Installation, one_configuration: Document
) -> None:
    one_configuration["slo"] = {"e2e_latency_p99_s": 0.000001}
    done = installation.run(installation.task_file(one_configuration), "--json")
    assert done.returncode == 1, done.stderr
    experiment = json.loads(done.stdout)["experiments"][0]
    assert experiment["failure"]["kind"] == "slo_violated"
    assert experiment["objective_value"] > 0
    assert len(experiment["measurements"]) == 1


# --- Interrupted, and gone on with ---


def sleeping_engine(installation: Installation) -> Path:
    """A real process that never listens, in the place of llama-server."""
    script = installation.data_dir / "llama-server"
    script.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    script.chmod(0o755)
    return script


def interrupt(installation: Installation) -> str:
    process = installation.started[-1]
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert installation.task_status() == "CANCELLED"
    return stdout


def test_ctrl_c_while_the_engine_starts(
    installation: Installation, one_configuration: Document
) -> None:
    installation.env["AUTOTUNER_LLAMA_SERVER"] = str(sleeping_engine(installation))
    installation.start(installation.task_file(one_configuration))
    installation.wait_for(installation.engines)
    stdout = interrupt(installation)
    assert installation.statuses() == ["CANCELLED"]
    assert "--resume 1" in stdout
    del installation.env["AUTOTUNER_LLAMA_SERVER"]
    assert installation.run("--resume", "1").returncode == 0
    assert installation.statuses() == ["SUCCESS"]


def test_ctrl_c_while_measuring_keeps_finished_experiments_and_resume_does_the_rest(
    installation: Installation, task_document: Document
) -> None:
    task_document["parameters"] = {"parallel": [1, 2], "threads": 2, "ctx-size": 2048}
    installation.start(installation.task_file(task_document))
    installation.wait_for(
        lambda: (
            installation.statuses() == ["SUCCESS", "BENCHMARKING"]
            and len(installation.processes()) > 2
        )
    )
    interrupt(installation)
    assert installation.statuses() == ["SUCCESS", "CANCELLED"]
    before = installation.query("SELECT id, finished_at FROM tuning_experiment WHERE number = 0")
    done = installation.run("--resume", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert installation.statuses() == ["SUCCESS", "SUCCESS", "SUCCESS"]
    after = installation.query("SELECT id, finished_at FROM tuning_experiment WHERE number = 0")
    assert after == before


def test_ctrl_c_during_the_warm_up(installation: Installation, one_configuration: Document) -> None:
    one_configuration["benchmark"]["warmup"] = 100_000
    installation.start(installation.task_file(one_configuration))
    installation.wait_for(lambda: installation.statuses() == ["BENCHMARKING"])
    interrupt(installation)
    assert installation.statuses() == ["CANCELLED"]


def test_a_second_ctrl_c_does_not_leave_the_engine_behind(
    installation: Installation, one_configuration: Document
) -> None:
    installation.env["AUTOTUNER_LLAMA_SERVER"] = str(sleeping_engine(installation))
    process = installation.start(installation.task_file(one_configuration))
    installation.wait_for(installation.engines)
    process.send_signal(signal.SIGINT)
    interrupt(installation)
    assert installation.statuses() == ["CANCELLED"]


def test_after_a_kill_resume_stops_the_orphan_and_finishes(
    installation: Installation, one_configuration: Document
) -> None:
    process = installation.start(installation.task_file(one_configuration))
    installation.wait_for(lambda: installation.statuses() == ["BENCHMARKING"])
    process.kill()
    process.communicate()
    (orphan,) = installation.engines()
    assert installation.run("--resume", "1").returncode == 0
    assert not orphan.is_running()
    assert installation.statuses() == ["SUCCESS"]
    assert installation.query("SELECT attempt FROM tuning_experiment") == [(2,)]


def test_a_finished_task_is_not_resumed(
    installation: Installation, one_configuration: Document
) -> None:
    assert installation.run(installation.task_file(one_configuration)).returncode == 0
    done = installation.run("--resume", "1")
    assert done.returncode == 2
    assert "COMPLETED" in done.stderr
