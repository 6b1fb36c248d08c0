"""The command of each engine inside its container image."""

from __future__ import annotations

import pytest

from controllers.base import DeploymentError, DeploymentIdentity, DeploymentRequest
from controllers.container_plan import engine_command
from controllers.engines.base import ContainerCommand
from controllers.engines.catalogue import engine, engines
from tuning.domain.names import EngineName, FlagValue

FLAGS: dict[str, FlagValue] = {"max-num-seqs": 8, "enforce-eager": True, "left-out": False}
AS_ARGUMENTS = ("--max-num-seqs", "8", "--enforce-eager")


def command(name: EngineName, image_tag: str | None = None) -> ContainerCommand:
    one = engine(name)
    image = one.image_with_tag(tag=image_tag)
    return one.container_command("/models/x", "served", "0.0.0.0", 8000, FLAGS, image)


def test_vllm_names_its_program_whatever_the_images_entrypoint_is() -> None:
    assert command(EngineName.VLLM) == ContainerCommand(
        image="vllm/vllm-openai:latest",
        entrypoint="vllm",
        arguments=(
            *("serve", "/models/x", "--served-model-name", "served"),
            *("--host", "0.0.0.0", "--port", "8000", *AS_ARGUMENTS),
        ),
    )


def test_sglang_keeps_the_images_entrypoint() -> None:
    made = command(EngineName.SGLANG, "v0.5.2-cu126")

    assert made.image == "lmsysorg/sglang:v0.5.2-cu126"
    assert made.entrypoint is None
    assert made.argv == (
        *("python3", "-m", "sglang.launch_server", "--model-path", "/models/x"),
        *("--served-model-name", "served", "--host", "0.0.0.0", "--port", "8000", *AS_ARGUMENTS),
    )


def test_llamacpp_runs_the_server_of_an_image_built_from_its_project() -> None:
    made = command(EngineName.LLAMACPP)

    assert made.image == "llama.cpp:server"
    assert made.argv == (
        *("/app/llama-server", "--model", "/models/x", "--alias", "served"),
        *("--host", "0.0.0.0", "--port", "8000", *AS_ARGUMENTS),
    )


@pytest.mark.parametrize("name", EngineName)
def test_a_flag_of_the_controller_is_refused(name: EngineName) -> None:
    with pytest.raises(DeploymentError, match="can't be a parameter"):
        engine(name).container_command("m", "served", "0.0.0.0", 8000, {"port": 1}, "image:tag")


@pytest.mark.parametrize("name", EngineName)
def test_local_and_container_commands_end_alike(name: EngineName) -> None:
    one = engines()[name]
    local = one.local_command("/models/x", "served", "127.0.0.1", 8000, FLAGS).argv
    inside = one.container_command("/models/x", "served", "127.0.0.1", 8000, FLAGS, "i:t").argv

    assert local[-9:] == inside[-9:]


def test_an_image_of_the_users_own_takes_the_place_of_the_engines() -> None:
    one = engine(EngineName.LLAMACPP)
    assert one.image_with_tag() == "llama.cpp:server"
    assert one.image_with_tag(tag="b6710") == "llama.cpp:b6710"
    assert one.image_with_tag(gpus=1) == "llama.cpp:server-cuda"
    assert one.image_with_tag(tag="b6710", gpus=1) == "llama.cpp:b6710"
    assert engine(EngineName.VLLM).image_with_tag(gpus=2) == "vllm/vllm-openai:latest"
    assert one.image_with_tag("host:5000/mine", gpus=1) == "host:5000/mine:latest"
    assert one.image_with_tag("host:5000/mine") == "host:5000/mine:latest"
    assert one.image_with_tag("host:5000/mine", "v2") == "host:5000/mine:v2"


@pytest.mark.parametrize(("gpus", "image"), [((), "server"), ((0, 1), "server-cuda")])
def test_llamacpp_on_gpus_has_an_image_of_its_own(gpus: tuple[int, ...], image: str) -> None:
    request = DeploymentRequest(
        identity=DeploymentIdentity("test", 1, 2, 1),
        engine=EngineName.LLAMACPP,
        model="m.gguf",
        served_model_name="m",
        parameters={"n-gpu-layers": 99},
        gpus=gpus,
    )
    found = engine_command(request, engine(EngineName.LLAMACPP), "/model/m.gguf")
    assert found.image == f"llama.cpp:{image}"
    assert found.arguments[-2:] == ("--n-gpu-layers", "99")
