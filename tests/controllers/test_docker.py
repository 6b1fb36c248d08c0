"""What only containers have: images, GPUs, mounts, limits, and names that others may bear."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from docker import DockerClient
from docker.errors import NotFound

from controllers.base import Deployment, DeploymentError, DeploymentRequest, EngineState
from controllers.container_plan import ContainerLimits, environment_of, locate_model
from controllers.docker import DockerController
from controllers.engines.catalogue import engine
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_for, wait_while_starting
from tests.controllers.test_docker_conformance import DockerHarness, docker_controller
from tests.docker.engine import client, llamacpp_image
from tests.fake_engine.engine import FakeEngineKind
from tests.fake_engine.image import IMAGE, TAG
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName

__all__ = ["client", "llamacpp_image"]


@pytest.fixture
def harness(tmp_path: Path, client: DockerClient) -> Iterator[DockerHarness]:
    harness = DockerHarness(docker_controller(tmp_path), runtime_dir=tmp_path, client=client)
    yield harness
    harness.clear()


def inspected(client: DockerClient, deployment: Deployment) -> dict[str, Any]:
    attributes: dict[str, Any] = client.containers.get(deployment.identity.name).attrs
    return attributes


def test_it_is_locked_down_and_given_what_it_needs(
    harness: DockerHarness, client: DockerClient, lines: Lines
) -> None:
    deployment = harness.controller.deploy(harness.request(never_ready=True), lines)
    found = inspected(client, deployment)
    host = found["HostConfig"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert not host["Privileged"]
    assert host["PidsLimit"] == ContainerLimits().pids
    assert host["Ulimits"] in (None, [])
    (binding,) = host["PortBindings"]["8000/tcp"]
    assert binding["HostIp"] == "127.0.0.1"
    mounts = {mount["Destination"]: mount for mount in found["Mounts"]}
    assert mounts["/model"]["RW"] is False
    assert mounts["/model"]["Source"] == str(harness.runtime_dir / "models" / "fake-model")
    assert mounts["/cache"]["Name"] == f"autotuner-{INSTANCE}-cache"
    environment = dict(one.split("=", 1) for one in found["Config"]["Env"])
    assert environment["TORCHINDUCTOR_CACHE_DIR"].startswith("/cache/")
    assert "CUDA_VISIBLE_DEVICES" not in environment
    assert found["Config"]["Labels"].items() >= deployment.identity.labels.items()
    assert deployment.environment["image_digest"].startswith("sha256:")


def test_leased_gpus_are_asked_for_by_number(
    harness: DockerHarness, client: DockerClient, lines: Lines
) -> None:
    request = dataclasses.replace(harness.request(never_ready=True), gpus=(1, 3))
    refusal = None
    try:
        deployment = harness.controller.deploy(request, lines)
    except DeploymentError as error:
        refusal = error.failure
    if refusal is not None:
        # An engine without NVIDIA's runtime, in its genuine words.
        assert refusal.kind is FailureKind.ACCELERATOR_MISSING
        assert harness.running_names() == []
        return
    (asked,) = inspected(client, deployment)["HostConfig"]["DeviceRequests"]
    assert asked["DeviceIDs"] == ["1", "3"]
    assert asked["Capabilities"] == [["gpu"]]


def test_llamacpp_is_given_its_gpus_and_the_image_for_them(
    harness: DockerHarness,
    client: DockerClient,
    llamacpp_image: str,
    lines: Lines,
    tmp_path: Path,
) -> None:
    llamacpp = engine(EngineName.LLAMACPP)
    name = llamacpp.image_with_tag(gpus=1)
    if client.images.list(name):
        pytest.skip(f"the image {name} is here already, and is somebody's")
    gguf(tmp_path / "models" / "m.gguf")
    repository, _, tag = name.partition(":")
    client.images.get(llamacpp_image).tag(repository, tag)
    controller = DockerController(
        tmp_path,
        tmp_path / "models",
        INSTANCE,
        PORT_RANGE,
        engines={EngineName.LLAMACPP: llamacpp},
        polite_s=1,
    )
    request = dataclasses.replace(
        harness.request(),
        engine=EngineName.LLAMACPP,
        model="m.gguf",
        parameters={"n-gpu-layers": "all", "tensor-split": "1,1"},
        gpus=(2, 3),
    )
    refusal, found = None, {}
    try:
        deployment = controller.deploy(request, lines)
        found = inspected(client, deployment)
        controller.delete(deployment)
    except DeploymentError as error:
        refusal = error.failure
    finally:
        client.images.remove(name)
    if refusal is not None:
        # An engine without NVIDIA's runtime, in its genuine words.
        assert refusal.kind is FailureKind.ACCELERATOR_MISSING
        return
    assert found["Config"]["Image"] == name
    assert found["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == ["2", "3"]


def test_a_missing_image_is_pulled_in_vain_and_says_so(
    harness: DockerHarness, lines: Lines
) -> None:
    request = dataclasses.replace(harness.request(), runtime_image_tag="no-such-tag")
    said: list[str] = []
    with pytest.raises(DeploymentError) as refused:
        harness.controller.deploy(request, lambda source, line: said.append(line))
    assert refused.value.failure.kind is FailureKind.IMAGE_MISSING
    assert f"{IMAGE}:no-such-tag" in refused.value.failure.message
    assert any("pulling" in line for line in said)


def test_the_kernels_kill_for_memory_is_told_from_a_crash(
    harness: DockerHarness, client: DockerClient, lines: Lines, tmp_path: Path
) -> None:
    controller = DockerController(
        tmp_path,
        tmp_path / "models",
        INSTANCE,
        engines=harness.controller._engines,  # type: ignore[attr-defined]
        limits=ContainerLimits(memory_mib=64),
        polite_s=1,
    )
    deployment = controller.deploy(harness.request(eat_memory_mib=500), lines)
    status = wait_while_starting(controller, deployment)
    assert status.state is EngineState.EXITED
    assert status.failure is not None
    assert status.failure.kind is FailureKind.OUT_OF_MEMORY
    controller.delete(deployment)


def test_a_kill_from_outside_is_not_taken_for_a_want_of_memory(
    harness: DockerHarness, client: DockerClient, lines: Lines
) -> None:
    deployment = harness.controller.deploy(harness.request(), lines)
    wait_while_starting(harness.controller, deployment)
    harness.kill_engine(deployment)
    wait_for(lambda: harness.controller.exit_failure(deployment) is not None)
    failure = harness.controller.exit_failure(deployment)
    assert failure is not None
    assert failure.kind is FailureKind.CRASHED
    assert "SIGKILL" in failure.message


@pytest.mark.parametrize(("code", "words"), [(255, "code 255"), (134, "SIGABRT")])
def test_an_exit_code_is_told_as_it_was_meant(
    harness: DockerHarness, lines: Lines, code: int, words: str
) -> None:
    deployment = harness.controller.deploy(harness.request(die_at_start=code), lines)
    failure = wait_while_starting(harness.controller, deployment).failure
    assert failure is not None
    assert words in failure.message


def test_an_image_without_the_engine_is_told_from_a_crash(
    harness: DockerHarness, lines: Lines, tmp_path: Path
) -> None:
    controller = DockerController(
        tmp_path,
        tmp_path / "models",
        INSTANCE,
        engines={EngineName.SGLANG: engine(EngineName.VLLM)},
        polite_s=1,
    )
    request = dataclasses.replace(harness.request(), runtime_image=IMAGE, runtime_image_tag=TAG)
    deployment = controller.deploy(request, lines)
    failure = wait_while_starting(controller, deployment).failure
    assert failure is not None
    assert failure.kind is FailureKind.IMAGE_MISSING
    assert f"{IMAGE}:{TAG} has no program vllm" in failure.message
    controller.delete(deployment)


def test_what_the_engine_prints_to_either_stream_is_read(
    harness: DockerHarness, lines: Lines
) -> None:
    deployment = harness.controller.deploy(harness.request(no_such_flag=1), lines)
    wait_while_starting(harness.controller, deployment)
    # argparse complains on the standard error, after a usage on it.
    assert any("unrecognized arguments" in line for line in lines.seen)


def test_a_container_with_our_labels_under_another_name_is_left_alone(
    harness: DockerHarness, client: DockerClient
) -> None:
    identity = harness.request().identity
    name = f"copy-of-{identity.name}"
    copy = client.containers.create(
        f"{IMAGE}:{TAG}", ["-c", "pass"], entrypoint=["python3"], name=name, labels=identity.labels
    )
    try:
        assert harness.controller.list_deployments(INSTANCE) == []
        harness.controller.delete_orphan(identity)
        assert client.containers.get(name).id == copy.id
    finally:
        copy.remove(force=True)


def test_what_others_run_is_neither_listed_nor_removed(
    harness: DockerHarness, client: DockerClient, lines: Lines
) -> None:
    request = harness.request()
    stranger = client.containers.create(
        f"{IMAGE}:{TAG}", ["-c", "pass"], entrypoint=["python3"], name=request.identity.name
    )
    try:
        assert harness.controller.list_deployments(INSTANCE) == []
        harness.controller.delete_orphan(request.identity)
        assert client.containers.get(request.identity.name).id == stranger.id
        with pytest.raises(DeploymentError, match="Conflict"):
            harness.controller.deploy(request, lines)
        assert client.containers.get(request.identity.name).id == stranger.id
    finally:
        stranger.remove(force=True)


def test_a_container_that_somebody_else_removed_is_a_crash(
    harness: DockerHarness, client: DockerClient, lines: Lines
) -> None:
    deployment = harness.controller.deploy(harness.request(), lines)
    wait_while_starting(harness.controller, deployment)
    client.containers.get(deployment.identity.name).remove(force=True)
    wait_for(lambda: harness.controller.exit_failure(deployment) is not None)
    harness.controller.delete(deployment)
    with pytest.raises(NotFound):
        client.containers.get(deployment.identity.name)


def test_a_running_engine_is_looked_at_without_asking_docker(
    harness: DockerHarness, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = harness.controller.deploy(harness.request(), lines)
    with monkeypatch.context() as without_docker:
        without_docker.setenv("DOCKER_HOST", "unix:///no/such.sock")
        assert wait_while_starting(harness.controller, deployment).state is EngineState.READY
        assert harness.controller.exit_failure(deployment) is None
        with pytest.raises(DeploymentError, match="No Docker engine can be reached"):
            harness.controller.list_deployments(INSTANCE)


def test_nothing_stays_open_after_a_deployment(harness: DockerHarness, lines: Lines) -> None:
    def open_files_after_one_more() -> int:
        deployment = harness.controller.deploy(harness.request(), lines)
        wait_while_starting(harness.controller, deployment)
        harness.controller.list_deployments(INSTANCE)
        harness.controller.delete(deployment)
        return psutil.Process().num_fds()

    first = open_files_after_one_more()
    assert [open_files_after_one_more() for _ in range(3)] == [first] * 3


# --- Without an engine ---


def test_no_engine_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: DeploymentRequest
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    (tmp_path / "models" / "m").mkdir(parents=True)
    failure = docker_controller(tmp_path).check(request_)
    assert failure is not None
    assert failure.kind is FailureKind.ENGINE_MISSING
    assert str(tmp_path) in failure.message
    assert "\n" not in failure.message


@pytest.fixture
def request_(tmp_path: Path) -> DeploymentRequest:
    return DockerHarness(docker_controller(tmp_path)).request()


def test_a_model_stays_below_its_directory_also_through_links(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (models / "link").symlink_to(tmp_path / "outside")
    (models / "alias").symlink_to(models / "inside")
    alias = locate_model("alias", models, FakeEngineKind())
    assert (alias.name, alias.mounts) == ("/model", {models / "inside": "/model"})
    for name in ("link", "../outside", str(tmp_path / "outside"), str(models)):
        with pytest.raises(DeploymentError) as refused:
            locate_model(name, models, FakeEngineKind())
        assert refused.value.failure.kind is FailureKind.MODEL_MISSING


def gguf(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF")
    return path


def test_a_gguf_file_keeps_the_name_that_the_task_gives_it(tmp_path: Path) -> None:
    blob = gguf(tmp_path / "blobs" / "7d8b")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.gguf").symlink_to(blob)
    model = locate_model("models/small.gguf", tmp_path, engine(EngineName.LLAMACPP))
    assert model.name == "/model/small.gguf"
    assert model.mounts == {blob: "/model/small.gguf"}
    with pytest.raises(DeploymentError, match="outside of the model directory"):
        locate_model("small.gguf", tmp_path / "models", engine(EngineName.LLAMACPP))


def test_all_parts_of_a_split_gguf_come_along(tmp_path: Path) -> None:
    names = [f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    parts = [gguf(tmp_path / "big" / name) for name in names]
    model = locate_model(f"big/{names[0]}", tmp_path, engine(EngineName.LLAMACPP))
    assert model.name == f"/model/{names[0]}"
    assert model.mounts == {part: f"/model/{part.name}" for part in parts}
    parts[1].unlink()
    with pytest.raises(DeploymentError, match=r"big-00002-of-00003\.gguf is not beside it"):
        locate_model(f"big/{names[0]}", tmp_path, engine(EngineName.LLAMACPP))


def test_a_hub_id_is_handed_through(tmp_path: Path) -> None:
    model = locate_model("org/model", tmp_path, FakeEngineKind())
    assert (model.name, model.mounts) == ("org/model", {})


def test_proxies_are_passed_on_but_never_for_loopback() -> None:
    environment = environment_of(
        {
            "https_proxy": "http://proxy:3128",
            "NO_PROXY": "intra.example",
            "HF_TOKEN": "hf_secret",
            "AUTOTUNER_SECRET_KEY": "never",
            "AWS_SECRET_ACCESS_KEY": "never",
        }
    )
    assert environment["HTTPS_PROXY"] == environment["https_proxy"] == "http://proxy:3128"
    assert environment["NO_PROXY"] == "intra.example,localhost,127.0.0.1,::1"
    assert environment["HF_TOKEN"] == "hf_secret"
    assert "never" not in environment.values()
    assert "NO_PROXY" not in environment_of({})
