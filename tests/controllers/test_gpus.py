"""The inventory of GPUs, and what is sampled of them. No card is needed: `FakeNvml` stands in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controllers.docker_engine import read_facts
from controllers.gpus import (
    MIB,
    Gpu,
    GpuInventory,
    GpuSampler,
    host_gpus,
    metrics_of,
    read_gpus,
)
from tests.services import wait_until

H100 = Gpu(0, "GPU-0", "NVIDIA H100 80GB HBM3", 81_920.0, 1_024.0, 50.0, 40.0, 300.0)


class NvmlFault(Exception):
    """As `pynvml.NVMLError`."""


@dataclass
class FakeNvml:
    """Answers as pynvml does. `silent` names the questions that its cards don't answer."""

    cards: int = 2
    has_driver: bool = True
    silent: frozenset[str] = frozenset()
    sessions: int = 0
    NVML_TEMPERATURE_GPU: int = 0
    NVMLError: type[Exception] = field(default=NvmlFault)

    def nvmlInit(self) -> None:
        if not self.has_driver:
            raise NvmlFault("NVML Shared Library Not Found")
        self.sessions += 1

    def nvmlShutdown(self) -> None:
        self.sessions -= 1

    def nvmlDeviceGetCount(self) -> int:
        return self.cards

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.0"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, card: int) -> Any:
        return SimpleNamespace(total=81_920 * MIB, used=1_024 * MIB)

    def nvmlDeviceGetUtilizationRates(self, card: int) -> Any:
        self._answer("utilisation")
        return SimpleNamespace(gpu=50)

    def nvmlDeviceGetTemperature(self, card: int, sensor: int) -> int:
        self._answer("temperature")
        return 40

    def nvmlDeviceGetPowerUsage(self, card: int) -> int:
        self._answer("power")
        return 300_000

    def nvmlDeviceGetUUID(self, card: int) -> bytes:
        return f"GPU-{card}".encode()

    def nvmlDeviceGetName(self, card: int) -> str:
        return H100.name

    def _answer(self, question: str) -> None:
        if question in self.silent:
            raise NvmlFault("Not Supported")


def test_every_card_with_its_memory_and_what_it_does() -> None:
    nvml = FakeNvml()
    found = read_gpus(nvml)
    assert found.gpus == (H100, replace(H100, index=1, uuid="GPU-1"))
    assert (found.driver, found.note) == ("580.0", "")
    assert nvml.sessions == 0


def test_a_host_without_the_driver_has_no_gpus() -> None:
    found = read_gpus(FakeNvml(has_driver=False))
    assert found.gpus == ()
    assert "Shared Library Not Found" in found.note


def test_a_driver_without_a_card() -> None:
    assert read_gpus(FakeNvml(cards=0)).note == "The NVIDIA driver is there, and no GPU."


def test_what_a_card_does_not_tell_is_unknown() -> None:
    nvml = FakeNvml(cards=1, silent=frozenset({"utilisation", "temperature", "power"}))
    (card,) = read_gpus(nvml).gpus
    assert (card.utilisation_percent, card.temperature_c, card.power_w) == (None, None, None)
    assert nvml.sessions == 0


def test_this_host_can_be_asked_whatever_it_has() -> None:
    found = read_gpus()
    assert bool(found.gpus) != bool(found.note)


def told_by_docker(**info: Any) -> GpuInventory:
    """The inventory of a host without a driver whose Docker engine says this of itself."""
    return host_gpus(FakeNvml(has_driver=False), lambda: read_facts(info))


def test_where_the_driver_answers_docker_is_not_asked() -> None:
    def ask() -> None:
        raise AssertionError

    assert len(host_gpus(FakeNvml(cards=2), ask).gpus) == 2


def test_without_a_driver_docker_tells_of_devices_for_containers() -> None:
    devices = [{"ID": f"nvidia.com/gpu={name}"} for name in ("10", "all", "0", "9", "0:1")]
    found = told_by_docker(DiscoveredDevices=[*devices, {"ID": "vendor.com/nic=1"}])
    assert found.gpus == ()
    assert found.in_containers == (0, 9, 10)
    assert "NVML Shared Library Not Found" in found.note
    assert found.note.endswith("Docker can give containers the GPUs 0, 9, 10.")
    by_uuid = [{"ID": f"nvidia.com/gpu={name}"} for name in ("GPU-aa", "GPU-bb", "all")]
    assert told_by_docker(DiscoveredDevices=by_uuid).in_containers == (0, 1)


def test_a_runtime_does_not_tell_how_many_there_are() -> None:
    found = told_by_docker(Runtimes={"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}})
    assert found.in_containers == ()
    assert "by the runtime nvidia" in found.note
    assert "AUTOTUNER_GPUS" in found.note


def test_an_engine_without_gpus_changes_nothing() -> None:
    without = read_gpus(FakeNvml(has_driver=False))
    assert told_by_docker(Runtimes={"runc": {}}, DiscoveredDevices=None) == without
    assert host_gpus(FakeNvml(has_driver=False), lambda: None) == without


def test_no_docker_engine_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    without = read_gpus(FakeNvml(has_driver=False))
    assert host_gpus(FakeNvml(has_driver=False)) == without


def test_samples_become_means_and_a_maximum() -> None:
    samples = [
        [H100, replace(H100, index=1, power_w=100.0, utilisation_percent=100.0)],
        [replace(H100, used_mib=3_000.0), replace(H100, index=1, power_w=100.0)],
    ]
    assert metrics_of(samples) == {
        "gpu_memory_used_max_mib": 4_024.0,
        "gpu_utilisation_mean_percent": 62.5,
        "gpu_power_mean_w": 400.0,
    }


def test_power_that_one_card_does_not_tell_is_not_told_of_all() -> None:
    samples = [[H100, replace(H100, index=1, power_w=None)]]
    assert "gpu_power_mean_w" not in metrics_of(samples)


def test_a_sampler_looks_at_its_own_cards_until_it_is_stopped() -> None:
    looks: list[int] = []

    def read() -> GpuInventory:
        looks.append(1)
        return GpuInventory((H100, replace(H100, index=1, power_w=100.0)))

    sampler = GpuSampler([1], read, interval_s=0.01).start()
    wait_until(lambda: len(looks) >= 3, "three looks")
    sampler.stop()
    assert sampler.metrics_of_last(60.0)["gpu_power_mean_w"] == 100.0
    seen = len(looks)
    sampler.stop()
    assert len(looks) == seen


def test_only_the_samples_of_a_load_point_count_for_it() -> None:
    power_w = [100.0]
    sampler = GpuSampler(
        [0], lambda: GpuInventory((replace(H100, power_w=power_w[0]),)), interval_s=0.01
    ).start()
    wait_until(lambda: bool(sampler.metrics_of_last(60.0)), "what came before the point")
    power_w[0] = 400.0
    wait_until(lambda: sampler.metrics_of_last(0.0).get("gpu_power_mean_w") == 400.0, "the point")
    sampler.stop()
    assert sampler.metrics_of_last(0.0)["gpu_power_mean_w"] == 400.0
    assert sampler.metrics_of_last(60.0)["gpu_power_mean_w"] < 400.0


@pytest.mark.parametrize("indices", [[], [7]])
def test_cards_that_are_not_there_give_no_metrics(indices: list[int]) -> None:
    sampler = GpuSampler(indices, lambda: GpuInventory((H100,)), interval_s=0.01).start()
    sampler.stop()
    assert sampler.metrics_of_last(60.0) == {}
