"""`manage.py run_task` in docker mode: all of it is real but the GPUs, and mostly the engine."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.docker.conftest import MODEL, Containers, Document
from tests.e2e.conftest import PROJECT
from tests.e2e.conftest import Installation as CommandLine
from tests.fake_engine.image import IMAGE

pytestmark = pytest.mark.slow


def test_the_example_tunes_a_real_llamacpp_server_in_a_container(
    command_line: CommandLine, llamacpp_image: str, sample_model: Path
) -> None:
    command_line.env["DOCKER_MODEL_PATH"] = str(sample_model.parent)
    done = command_line.run(PROJECT / "examples" / "docker_task.json", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert {one["status"] for one in report["experiments"]} == {"SUCCESS"}
    tried = [one for one in report["experiments"] if one["original_id"] is None]
    assert [one["parameters"].get("parallel") for one in tried] == [None, 1, 4]
    for experiment in report["experiments"]:
        (measured,) = experiment["measurements"]
        assert measured["num_failed_requests"] == 0
        assert measured["metrics"]["mean_output_tokens"] == 16
    program, *arguments = report["best_command"]
    assert program == "/app/llama-server"
    assert arguments[:2] == ["--model", f"/model/{sample_model.name}"]
    log = Path(report["log_file"]).read_text()
    assert re.search(r"Z engine +listening on http://0\.0\.0\.0:8000", log)
    for source in ("benchmark", "orchestrator"):
        assert re.search(rf"Z {source} ", log)
    (environment,) = command_line.query("SELECT environment FROM tuning_experiment LIMIT 1")
    assert json.loads(environment[0])["image"] == llamacpp_image


def test_each_experiment_is_given_the_gpus_that_its_flags_ask_for(
    command_line: CommandLine, fake_task: Document
) -> None:
    command_line.env["AUTOTUNER_GPUS"] = "0,1,2,3"
    fake_task.update(
        base_runtime="sglang",
        model={"id_or_path": MODEL},
        parameters={"tp-size": [1, 2], "max-running-requests": 4},
    )
    del fake_task["benchmark"]["model_tokenizer"]
    done = command_line.run(command_line.task_file(fake_task), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    best = report["experiments"][report["best_experiment"] - 1]
    assert best["parameters"] == {"tp-size": 2, "max-running-requests": 4}
    assert report["best_command"][:5] == [
        *("python3", "-m", "sglang.launch_server", "--model-path", "/model")
    ]
    rows = command_line.query("SELECT parameters, environment FROM tuning_experiment")
    for parameters, environment in rows:
        gpus = json.loads(environment)["gpus"]
        assert len(gpus) == json.loads(parameters)["tp-size"]
        assert set(gpus) < {0, 1, 2, 3}


def test_one_configuration_that_dies_leaves_the_others_alone(
    command_line: CommandLine, fake_task: Document
) -> None:
    fake_task["parameters"] = {"out-of-memory": [True, False], "parallel": 4}
    done = command_line.run(command_line.task_file(fake_task), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    dead, alive = json.loads(done.stdout)["experiments"]
    assert dead["failure"]["kind"] == "out_of_memory"
    assert "CUDA out of memory" in " ".join(dead["failure"]["log_tail"])
    assert alive["status"] == "SUCCESS"


def test_ctrl_c_removes_the_container(
    command_line: CommandLine, fake_task: Document, containers: Containers
) -> None:
    fake_task["benchmark"]["max_requests_per_iteration"] = 100_000
    process = command_line.start(command_line.task_file(fake_task))
    command_line.wait_for(lambda: command_line.statuses()[:1] == ["BENCHMARKING"])
    assert containers.all()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert containers.all() == []


def test_after_a_kill_resume_removes_what_was_left_and_finishes(
    command_line: CommandLine, fake_task: Document, containers: Containers
) -> None:
    fake_task["parameters"]["parallel"] = [4]
    process = command_line.start(command_line.task_file(fake_task))
    command_line.wait_for(lambda: command_line.statuses() == ["BENCHMARKING"])
    process.kill()
    process.communicate()
    (orphan,) = containers.all()
    done = command_line.run("--resume", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert orphan.id not in [one.id for one in containers.all()]
    assert command_line.query("SELECT attempt, status FROM tuning_experiment") == [(2, "SUCCESS")]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no-such-model.gguf", "There is no model file"),
        ("../elsewhere.gguf", "model.id_or_path: "),
        ("/etc/hostname", "model.id_or_path: "),
    ],
)
def test_a_model_that_is_not_there_is_refused_before_anything_is_created(
    command_line: CommandLine, fake_task: Document, model: str, words: str
) -> None:
    fake_task["model"]["id_or_path"] = model
    done = command_line.run(command_line.task_file(fake_task))
    assert done.returncode == 2
    assert words in done.stderr
    assert command_line.query("SELECT * FROM tuning_task") == []


def test_a_missing_image_ends_the_task_at_its_first_experiment(
    command_line: CommandLine, fake_task: Document
) -> None:
    fake_task["runtime_image_tag"] = "no-such-tag"
    done = command_line.run(command_line.task_file(fake_task))
    assert done.returncode == 1
    assert "image_missing" in done.stdout
    assert f"{IMAGE}:no-such-tag" in done.stdout
    assert command_line.statuses()[0] == "FAILED"
    assert "SUCCESS" not in command_line.statuses()


def test_an_engine_for_gpus_on_a_host_without_says_so(
    command_line: CommandLine, fake_task: Document
) -> None:
    command_line.env["AUTOTUNER_GPUS"] = "none"
    fake_task.update(base_runtime="sglang", model={"id_or_path": MODEL}, parameters={"tp-size": 1})
    done = command_line.run(command_line.task_file(fake_task))
    assert done.returncode == 1
    assert "accelerator_missing" in done.stdout
