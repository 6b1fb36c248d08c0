"""What can't fit on its GPUs is refused unlaunched, by every controller, with the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from controllers.base import (
    Controller,
    DeploymentError,
    DeploymentIdentity,
    DeploymentRequest,
)
from controllers.docker import DockerController
from controllers.engines.base import Engine
from controllers.engines.catalogue import engine
from controllers.engines.sglang import Sglang
from controllers.engines.vllm import Vllm
from controllers.feasibility import memory_at_hand, refuse_infeasible
from controllers.gpus import Gpu, GpuInventory
from controllers.local import LocalController
from tests.controllers.conftest import INSTANCE, PORT_RANGE
from tests.controllers.memory_deployments import A10, H100, H200, RTX_4090, config
from tests.controllers.test_hub_cache import snapshot_in
from tests.controllers.test_memory_files import gguf_file
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue, LogSource

MIB = 1024 * 1024


class FakeVllm(Vllm):
    """vLLM as if it were installed here; it is never launched."""

    def missing(self) -> Failure | None:
        return None


def cards(*sizes_mib: float) -> Callable[[], GpuInventory]:
    """A host with cards of these sizes."""
    found = tuple(
        Gpu(index, f"GPU-{index}", "a card", size, 0.0) for index, size in enumerate(sizes_mib)
    )
    return lambda: GpuInventory(found)


def no_driver() -> GpuInventory:
    return GpuInventory((), note="No GPU can be seen on this host.")


def model_in(models_dir: Path, name: str = "llama-3.1-70b") -> str:
    (models_dir / name).mkdir(parents=True)
    (models_dir / name / "config.json").write_text(json.dumps(config(name)))
    return name


def request_for(
    model: str,
    gpus: tuple[int, ...],
    runtime: EngineName = EngineName.VLLM,
    **flags: FlagValue,
) -> DeploymentRequest:
    return DeploymentRequest(
        identity=DeploymentIdentity(INSTANCE, 1, 2, 1),
        engine=runtime,
        model=model,
        served_model_name="model",
        parameters={name.replace("_", "-"): value for name, value in flags.items()},
        gpus=gpus,
    )


def said_of(
    one: Engine,
    located: Path | str,
    request: DeploymentRequest,
    read_cards: Callable[[], GpuInventory],
) -> list[str]:
    said: list[str] = []

    def log(source: LogSource, line: str) -> None:
        assert source is LogSource.ORCHESTRATOR
        said.append(line)

    refuse_infeasible(one, str(located), request, log, read_cards)
    return said


def local(tmp_path: Path, read_cards: Callable[[], GpuInventory]) -> LocalController:
    engines: Mapping[EngineName, Engine] = {EngineName.VLLM: FakeVllm()}
    models = tmp_path / "models"
    return LocalController(tmp_path, models, PORT_RANGE, engines, read_cards=read_cards)


def docker(tmp_path: Path, read_cards: Callable[[], GpuInventory]) -> DockerController:
    engines: Mapping[EngineName, Engine] = {EngineName.VLLM: Vllm()}
    models = tmp_path / "models"
    return DockerController(tmp_path, models, INSTANCE, PORT_RANGE, engines, read_cards=read_cards)


@pytest.mark.parametrize("controller_on", [local, docker])
def test_a_model_that_is_too_big_is_refused_unlaunched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    controller_on: Callable[[Path, Callable[[], GpuInventory]], Controller],
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    request = request_for(model_in(tmp_path / "models"), gpus=(0,))
    with pytest.raises(DeploymentError) as refused:
        controller_on(tmp_path, cards(H100, H100)).deploy(request, lambda source, line: None)
    failure = refused.value.failure
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert "Too big: the weights take at least 127.5 GiB of each GPU" in failure.message
    assert failure.message.endswith("The engine was not launched.")
    assert not failure.kind.is_infrastructure_fault


def test_a_tight_fit_is_told_and_launched(tmp_path: Path) -> None:
    model = tmp_path / model_in(tmp_path)
    request = request_for("", gpus=(0, 1), tensor_parallel_size=2)
    (line,) = said_of(Vllm(), model, request, cards(H100, H100))
    assert line.startswith("GPU memory may not suffice. Tight: weights (65.")
    assert said_of(Vllm(), model, request, cards(H200, H200)) == []


def test_the_smallest_of_the_leased_cards_decides(tmp_path: Path) -> None:
    model = tmp_path / model_in(tmp_path)
    two: dict[str, Any] = {"tensor_parallel_size": 2, "max_model_len": 4096}
    read_cards = cards(H200, H200, A10)
    assert said_of(Vllm(), model, request_for("", (0, 1), **two), read_cards) == []
    with pytest.raises(DeploymentError, match=r"of this 22\.5 GiB card"):
        said_of(Vllm(), model, request_for("", (1, 2), **two), read_cards)


def test_llamacpp_deals_layers_out_over_all_its_cards() -> None:
    llamacpp = engine(EngineName.LLAMACPP)
    assert memory_at_hand(llamacpp, {}, [A10, RTX_4090]) == A10 + RTX_4090
    assert memory_at_hand(llamacpp, {"split-mode": "none"}, [A10, RTX_4090]) == A10
    assert memory_at_hand(Sglang(), {}, [A10, RTX_4090]) == A10


def test_a_gguf_file_is_too_big_for_one_card_and_not_for_two(tmp_path: Path) -> None:
    sizes = {"block_count": 80, "embedding_length": 8192, "context_length": 4096}
    sizes |= {"attention__head_count": 64, "attention__head_count_kv": 8}
    path = gguf_file(tmp_path / "large.gguf", **sizes)
    with path.open("r+b") as file:
        file.truncate(40_000 * MIB)
    llamacpp, all_layers = engine(EngineName.LLAMACPP), {"n_gpu_layers": "all"}
    one = request_for("", (0,), EngineName.LLAMACPP, **all_layers)
    two = request_for("", (0, 1), EngineName.LLAMACPP, **all_layers, tensor_split="1,1")
    read_cards = cards(RTX_4090, RTX_4090)
    with pytest.raises(DeploymentError, match="on the GPU"):
        said_of(llamacpp, path, one, read_cards)
    assert said_of(llamacpp, path, two, read_cards) == []


def test_a_hub_id_is_looked_up_in_the_cache_of_this_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    large = snapshot_in(tmp_path, "meta/large")
    (large / "config.json").write_text(json.dumps(config("llama-3.1-405b")))
    old = snapshot_in(tmp_path, "meta/large", ref="v1", commit="b" * 40)
    (old / "config.json").write_text(json.dumps(config("llama-3.1-8b")))
    with pytest.raises(DeploymentError, match="Too big"):
        said_of(Vllm(), "meta/large", request_for("meta/large", (0,)), cards(H100))
    request = request_for("meta/large", (0,), revision="v1", max_model_len=8192)
    assert said_of(Vllm(), "meta/large", request, cards(H100)) == []


@pytest.mark.parametrize(
    ("located", "gpus", "read_cards"),
    [
        ("llama-3.1-70b", (), cards(A10)),
        ("llama-3.1-70b", (0,), no_driver),
        ("llama-3.1-70b", (0, 5), cards(A10)),
        ("nothing-here", (0,), cards(A10)),
        ("org/never-downloaded", (0,), cards(A10)),
    ],
)
def test_nothing_is_said_where_model_or_cards_are_not_known(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    located: str,
    gpus: tuple[int, ...],
    read_cards: Callable[[], GpuInventory],
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    model_in(tmp_path)
    path = located if "/" in located else tmp_path / located
    assert said_of(Sglang(), path, request_for(located, gpus), read_cards) == []


def test_a_model_that_changes_on_disk_is_read_again(tmp_path: Path) -> None:
    model = tmp_path / model_in(tmp_path)
    request = request_for("", (0,), max_model_len=4096)
    with pytest.raises(DeploymentError):
        said_of(Vllm(), model, request, cards(H100))
    (model / "config.json").write_text(json.dumps(config("llama-3.1-8b")))
    assert said_of(Vllm(), model, request, cards(H100)) == []


def test_a_rule_on_gpus_is_held_against_the_leased_ones(tmp_path: Path) -> None:
    flags: dict[str, Any] = {"tensor_parallel_size": 4}
    with pytest.raises(DeploymentError, match="there are not so many") as refused:
        said_of(Vllm(), tmp_path, request_for("", (0, 1), **flags), cards(H100))
    assert refused.value.failure.kind is FailureKind.BAD_FLAG
    # Without GPUs engines run as many processes on the CPU.
    assert said_of(Vllm(), tmp_path, request_for("", (), **flags), cards(H100)) == []
