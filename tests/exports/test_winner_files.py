"""The winner as command, container, compose file and InferenceService: each is parsed back."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import LazySettings

from controllers.cluster.runtimes import runtime_of
from controllers.cluster.service_plan import ServicePlan, plan_service
from controllers.cluster.settings import ClusterSettings
from controllers.engines.catalogue import engine
from tests.controllers.cluster_samples import (
    MANIFESTS,
    VLLM_ARGS,
    request,
    runtime_document,
)
from tests.controllers.crd_schemas import full_schema, problems, reduced_schema
from tests.exports.conftest import NASTY_ARGUMENTS, NASTY_FLAGS
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import EngineName
from tuning.exports import EXPORTS, NoWinner
from tuning.exports.names import dns_name
from tuning.exports.winner import read_winner
from tuning.exports.winner_files import WinnerFile
from tuning.models import Experiment, Task

Finished = Callable[..., Task]
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LLAMACPP = 2
SGLANG = 0


def words_of(text: str, program: str) -> list[str]:
    """The arguments that a shell gives to `program` when it runs the script."""
    show = f"{program}() {{ printf '%s\\0' \"$@\"; }}\n"
    done = subprocess.run(["sh", "-c", show + text], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def text_of(task: Task, file: WinnerFile) -> str:
    return EXPORTS[file](task).content


def service_of(task: Task) -> dict[str, Any]:
    """The one service of the compose file, with doubled dollars as compose reads them."""
    document = yaml.safe_load(text_of(task, WinnerFile.COMPOSE))
    (service,) = document["services"].values()
    service["command"] = [word.replace("$$", "$") for word in service["command"]]
    return dict(service)


def test_the_command_is_what_was_measured(finished: Finished) -> None:
    task = finished(parameters=NASTY_FLAGS)

    assert words_of(text_of(task, WinnerFile.COMMAND), "engine") == NASTY_ARGUMENTS


def test_docker_run_gives_the_engine_every_flag_as_it_was_measured(finished: Finished) -> None:
    task = finished(parameters=NASTY_FLAGS)
    words = words_of(text_of(task, WinnerFile.DOCKER_RUN), "docker")

    assert words[:2] == ["run", "--rm"]
    assert words[words.index("serve") - 1] == "vllm/vllm-openai:latest"
    assert words[words.index("serve") :] == [
        *("serve", "Qwen/Qwen2.5-7B-Instruct", "--served-model-name", "Qwen2.5-7B-Instruct"),
        *("--host", "0.0.0.0", "--port", "8000", *NASTY_ARGUMENTS),
    ]
    assert option(words, "--gpus") == '"device=0,1"'
    assert option(words, "--entrypoint") == "vllm"
    assert option(words, "--publish") == "127.0.0.1:8000:8000"
    assert "--ipc=host" in words


def test_a_hub_model_gets_the_users_token_and_a_cache(finished: Finished) -> None:
    task = finished()
    words = words_of(text_of(task, WinnerFile.DOCKER_RUN), "docker")
    service = service_of(task)

    assert option(words, "--env") == "HF_TOKEN"
    assert option(words, "--mount") == (
        "type=volume,source=huggingface-cache,target=/root/.cache/huggingface"
    )
    assert service["environment"] == ["HF_TOKEN"]
    assert service["volumes"][0]["type"] == "volume"


def test_a_model_of_this_host_is_mounted_read_only(
    finished: Finished, tmp_path: Path, settings: LazySettings
) -> None:
    settings.AUTOTUNER_MODEL_PATH = tmp_path
    model = tmp_path / 'a, "model" of $mine'
    model.mkdir()
    task = finished(sections={"model": {"id_or_path": model.name}})
    words = words_of(text_of(task, WinnerFile.DOCKER_RUN), "docker")
    (mount,) = csv.reader([option(words, "--mount")])
    (volume,) = service_of(task)["volumes"]

    target = f"/models/{model.name}"
    assert mount == ["type=bind", f"source={model}", f"target={target}", "readonly"]
    assert words[words.index("serve") + 1] == target
    assert "HF_TOKEN" not in words
    assert volume == {
        "type": "bind",
        "source": str(model).replace("$", "$$"),
        "target": target.replace("$", "$$"),
        "read_only": True,
    }


def test_a_model_file_that_is_gone_is_still_named(
    finished: Finished, tmp_path: Path, settings: LazySettings
) -> None:
    settings.AUTOTUNER_MODEL_PATH = tmp_path
    text = text_of(finished(LLAMACPP), WinnerFile.DOCKER_RUN)

    assert f"source={tmp_path}/SmolLM2-135M-Instruct.Q4_1.gguf" in text
    assert "docker build --tag llama.cpp:server " in text
    assert "--gpus" not in text


def test_compose_gives_the_engine_every_flag_as_it_was_measured(finished: Finished) -> None:
    task = finished(parameters=NASTY_FLAGS, sections={"runtime_image_tag": "v9.9"})
    service = service_of(task)

    assert service["image"] == "vllm/vllm-openai:v9.9"
    assert service["entrypoint"] == ["vllm"]
    assert service["command"][-len(NASTY_ARGUMENTS) :] == NASTY_ARGUMENTS
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}
    ]


def test_compose_leaves_no_variable_for_compose_to_fill_in(finished: Finished) -> None:
    text = text_of(finished(parameters=NASTY_FLAGS), WinnerFile.COMPOSE)

    assert "$" not in text.replace("$$", "")


def test_the_inference_service_is_as_ome_wants_it(finished: Finished) -> None:
    task = finished(parameters=NASTY_FLAGS)
    task.name = "7B: Ünïcode & more " * 5
    task.save()
    document = yaml.safe_load(text_of(task, WinnerFile.INFERENCE_SERVICE))
    spec = document["spec"]
    runner = spec["engine"].pop("runner")

    assert (document["apiVersion"], document["kind"]) == ("ome.io/v1beta1", "InferenceService")
    assert document["metadata"]["namespace"] == "autotuner"
    assert spec == {
        "model": {"name": "qwen2-5-7b-instruct", "kind": "ClusterBaseModel"},
        "runtime": {"name": "vllm-qwen2-5-7b-instruct", "kind": "ClusterServingRuntime"},
        "engine": {"minReplicas": 1, "maxReplicas": 1},
    }
    assert runner["name"] == "ome-container"
    assert [word.replace("$$", "$") for word in runner["args"]] == NASTY_ARGUMENTS
    assert runner["resources"] == {
        "requests": {"nvidia.com/gpu": "2"},
        "limits": {"nvidia.com/gpu": "2"},
    }
    assert DNS_LABEL.fullmatch(document["metadata"]["name"])
    assert len(document["metadata"]["name"]) <= 50


def objects_of(task: Task) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text_of(task, WinnerFile.INFERENCE_SERVICE)))


def measured_in_a_cluster(task: Task, **more: Any) -> ServicePlan:
    """Has the best experiment measured by OME, as its controller would record it."""
    best = task.best_experiment
    assert best is not None
    asked = request(best.parameters, engine=EngineName.VLLM, **more)
    runtime = runtime_document(
        "vllm-shared", ["vllm", "serve"], VLLM_ARGS, image="vllm/vllm-openai:v1"
    )
    settings = ClusterSettings(node_selector={"pool": "gpu"}, tolerations=({"key": "a"},))
    kind = engine(EngineName.VLLM, checks_flags=False)
    plan = plan_service(asked, kind, runtime_of(runtime), settings, MANIFESTS)
    best.environment = json.loads(json.dumps({"engine": "vllm", **plan.facts}))
    best.save()
    return plan


def test_what_was_measured_in_a_cluster_is_exported_as_it_was_there(finished: Finished) -> None:
    task = finished(parameters=NASTY_FLAGS)
    plan = measured_in_a_cluster(task)
    (service,) = objects_of(task)
    measured = plan.inference_service
    pod = measured["spec"]["engine"]
    # Only BenchmarkJobs look at it.
    assert pod["runner"].pop("env") == [{"name": "PROTOCOL_VERSION", "value": "vllm"}]

    assert service["metadata"] == {
        "name": dns_name(task.name, "task", 50),
        "namespace": measured["metadata"]["namespace"],
    }
    assert service["spec"]["model"] == measured["spec"]["model"]
    assert service["spec"]["runtime"] == {"name": "vllm-shared", "kind": "ClusterServingRuntime"}
    assert service["spec"]["engine"] == {
        key: item for key, item in pod.items() if key in service["spec"]["engine"]
    }
    # With the autotuner's labels it would be removed as an orphan of the experiment.
    assert pod.keys() - service["spec"]["engine"].keys() == {
        "labels",
        "terminationGracePeriodSeconds",
    }
    args = [word.replace("$$", "$") for word in service["spec"]["engine"]["runner"]["args"]]
    assert args[-len(NASTY_ARGUMENTS) :] == NASTY_ARGUMENTS


def test_a_runtime_of_the_experiments_own_goes_with_the_service(finished: Finished) -> None:
    task = finished(parameters=NASTY_FLAGS)
    plan = measured_in_a_cluster(task, runtime_image_tag="v9.9")
    runtime, service = objects_of(task)
    name = f"{dns_name(task.name, 'task', 50)}-runtime"

    assert plan.serving_runtime is not None
    assert runtime["kind"] == "ServingRuntime"
    assert runtime["metadata"] == {"name": name, "namespace": "team"}
    assert runtime["spec"] == plan.serving_runtime["spec"]
    assert runtime["spec"]["engineConfig"]["runner"]["image"] == "vllm/vllm-openai:v9.9"
    assert service["spec"]["runtime"] == {"name": name, "kind": "ServingRuntime"}
    assert "autotuner/" not in yaml.safe_dump_all([runtime, service])


@pytest.mark.parametrize("schema", [reduced_schema, full_schema])
@pytest.mark.parametrize("more", [None, {}, {"runtime_image": "team/vllm"}])
def test_exported_objects_are_as_ome_defines_them(
    finished: Finished, more: dict[str, Any] | None, schema: Callable[[str], Any]
) -> None:
    task = finished(parameters=NASTY_FLAGS)
    if more is not None:
        measured_in_a_cluster(task, **more)

    for document in objects_of(task):
        assert problems(document, schema(document["kind"])) == []


@pytest.mark.parametrize("value", ["{{ .Name }}", "a\0b", "x" * 140_000])
def test_what_ome_can_not_be_given_is_said_in_place_of_the_objects(
    finished: Finished, value: str
) -> None:
    text = text_of(finished(parameters={"tool-call-parser": value}), WinnerFile.INFERENCE_SERVICE)

    assert yaml.safe_load(text) is None
    assert "OME can't be given this configuration: tool-call-parser: " in text
    assert all(line.startswith("# ") for line in text.splitlines())


def test_exports_load_no_client_of_kubernetes() -> None:
    """It takes a second, which every page would wait for."""
    code = (
        "import sys; import controllers.cluster.service_plan, controllers.cluster.models; "
        "sys.exit('kubernetes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("file", WinnerFile)
def test_a_task_name_can_not_leave_its_comment(finished: Finished, file: WinnerFile) -> None:
    task = finished(parameters={}, sections={})
    task.name = "harmless\nrm -rf /\nkind: Evil"
    task.save()

    lines = text_of(task, file).splitlines()
    assert any(line.startswith("#") and "harmless rm -rf / kind: Evil" in line for line in lines)
    assert not any(line.startswith(("rm", "kind: Evil")) for line in lines)


def test_the_best_so_far_of_a_running_task_is_its_winner(seeding: Seeding) -> None:
    task = Task.objects.get(pk=seeding.task(SGLANG, experiments=6, fate=TaskStatus.RUNNING))

    assert task.best_experiment_id is None
    winner = read_winner(task)
    succeeded = Experiment.objects.filter(task=task, status="SUCCESS").order_by("score")
    assert winner.experiment == succeeded.first()


def test_without_a_success_there_is_no_winner(seeding: Seeding) -> None:
    task = Task.objects.get(pk=seeding.task(experiments=3, fate=TaskStatus.FAILED))

    for file in WinnerFile:
        with pytest.raises(NoWinner, match="no experiment has succeeded"):
            EXPORTS[file](task)


@pytest.mark.parametrize(
    ("gpus", "tag", "dockerfile"), [([0], "server-cuda", "cuda"), ([], "server", "cpu")]
)
def test_llamacpp_gets_the_gpus_that_it_was_measured_with(
    finished: Finished, gpus: list[int], tag: str, dockerfile: str
) -> None:
    task = finished(LLAMACPP, parameters={"n-gpu-layers": 99})
    assert task.best_experiment is not None
    Experiment.objects.filter(pk=task.best_experiment.pk).update(environment={"gpus": gpus})
    text = text_of(task, WinnerFile.DOCKER_RUN)
    words = words_of(text, "docker")
    assert f"llama.cpp:{tag}" in words
    assert ("--gpus" in words) is bool(gpus)
    assert f"--tag llama.cpp:{tag} --target server --file .devops/{dockerfile}.Dockerfile" in text
