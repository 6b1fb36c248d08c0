"""The NVIDIA GPUs of this host, and what they do at this moment.

Asked through NVML (nvidia-ml-py), the library below `nvidia-smi`, as its "NVML API Reference"
says. A host without the driver has no GPUs, and that is no error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Self

import pynvml

MIB = 1024 * 1024
SAMPLE_INTERVAL_S = 0.5


@dataclass(frozen=True)
class Gpu:
    """One card. `index` is NVML's, by PCI bus; containers and engines are given it.

    `used_mib` is everything that lies on the card, whosever it is. What the card does not tell is
    None.
    """

    index: int
    uuid: str
    name: str
    memory_mib: float
    used_mib: float
    utilisation_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None


@dataclass(frozen=True)
class GpuInventory:
    """The cards by index. `note` says why there are none, in words for users."""

    gpus: tuple[Gpu, ...]
    driver: str | None = None
    note: str = ""


def read_gpus(nvml: Any = pynvml) -> GpuInventory:
    """The cards as they are now. Takes milliseconds; never raises."""
    try:
        with _session(nvml):
            cards = tuple(_read_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
            driver = _text(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError as error:
        return GpuInventory((), note=f"No GPU can be seen on this host: {error}.")
    note = "" if cards else "The NVIDIA driver is there, and no GPU."
    return GpuInventory(cards, driver, note)


@contextmanager
def _session(nvml: Any) -> Iterator[None]:
    """NVML counts its users, so that sessions may overlap in several threads."""
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _read_card(nvml: Any, index: int) -> Gpu:
    card = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(card)
    utilisation = _if_told(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu)
    temperature = _if_told(
        nvml, lambda: nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)
    )
    milliwatts = _if_told(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(card))
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(card)),
        name=_text(nvml.nvmlDeviceGetName(card)),
        memory_mib=memory.total / MIB,
        used_mib=memory.used / MIB,
        utilisation_percent=utilisation,
        temperature_c=temperature,
        power_w=None if milliwatts is None else milliwatts / 1000,
    )


def _if_told(nvml: Any, ask: Callable[[], float]) -> float | None:
    """Virtual and older cards don't tell everything."""
    try:
        return float(ask())
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@dataclass
class Telemetry:
    """Samples of some cards over a time; see `as_metrics` for what becomes of them."""

    began: float
    ended: float = 0.0
    samples: list[Sequence[Gpu]] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        return self.ended - self.began

    def as_metrics(self) -> Mapping[str, float]:
        """Means over time, and of memory the most; energy is mean power times duration.

        Utilisation is the mean over the cards, memory and power their sum. Empty without samples.
        """
        if not self.samples:
            return {}
        metrics = {
            "gpu_memory_used_max_mib": max(
                sum(card.used_mib for card in cards) for cards in self.samples
            )
        }
        busy = [one for one in map(_mean_utilisation, self.samples) if one is not None]
        power = [one for one in map(_total_power, self.samples) if one is not None]
        if busy:
            metrics["gpu_utilisation_mean_percent"] = fmean(busy)
        if power:
            metrics["gpu_power_mean_w"] = fmean(power)
            metrics["gpu_energy_j"] = fmean(power) * self.duration_s
        return metrics


def _mean_utilisation(cards: Sequence[Gpu]) -> float | None:
    told = [card.utilisation_percent for card in cards if card.utilisation_percent is not None]
    return fmean(told) if told else None


def _total_power(cards: Sequence[Gpu]) -> float | None:
    told = [card.power_w for card in cards if card.power_w is not None]
    return sum(told) if len(told) == len(cards) and told else None


class GpuSampler:
    """Looks at some cards twice a second, from `start` to `stop`."""

    def __init__(
        self,
        indices: Sequence[int],
        read: Callable[[], GpuInventory] = read_gpus,
        interval_s: float = SAMPLE_INTERVAL_S,
    ) -> None:
        self._indices = frozenset(indices)
        self._read = read
        self._interval_s = interval_s
        self._done = threading.Event()
        self._telemetry = Telemetry(began=time.monotonic())
        self._thread = threading.Thread(target=self._run, name="gpu sampler", daemon=True)

    def start(self) -> Self:
        self._telemetry = Telemetry(began=time.monotonic())
        if self._indices:
            self._thread.start()
        return self

    def stop(self) -> Telemetry:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._telemetry.ended = time.monotonic()
        return self._telemetry

    def _run(self) -> None:
        while True:
            cards = [gpu for gpu in self._read().gpus if gpu.index in self._indices]
            if len(cards) == len(self._indices):
                self._telemetry.samples.append(cards)
            if self._done.wait(self._interval_s):
                return
