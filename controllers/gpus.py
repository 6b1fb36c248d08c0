"""The NVIDIA GPUs of this host, and what they do at this moment.

Asked through NVML (nvidia-ml-py), the library below `nvidia-smi`, as its "NVML API Reference"
says. Where that is absent, a Docker engine may still have GPUs to give to containers: the host
is another one, or this process runs in a container itself. A host without GPUs is no error.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self

import pynvml

if TYPE_CHECKING:
    from controllers.docker_engine import EngineFacts

MIB = 1024 * 1024
SAMPLE_INTERVAL_S = 0.5
DOCKER_REMEMBERED_S = 60.0


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
    """The cards by index. `note` says why there are none, in words for users.

    `in_containers` are the indices of cards that only Docker tells of, and nothing but that.
    """

    gpus: tuple[Gpu, ...]
    driver: str | None = None
    note: str = ""
    in_containers: tuple[int, ...] = ()


def host_gpus(
    nvml: Any = pynvml, docker_facts: Callable[[], EngineFacts | None] | None = None
) -> GpuInventory:
    """The cards as the driver tells of them, else as the Docker engine does; never raises.

    Docker is asked once a minute, and for 2 seconds at most.
    """
    found = read_gpus(nvml)
    facts = None if found.gpus else (docker_facts or _docker_facts)()
    if facts is None or not facts.gpus:
        return found
    if facts.gpu_indices:
        known = f"Docker can give containers the GPUs {', '.join(map(str, facts.gpu_indices))}."
    else:
        known = (
            f"Docker can give GPUs to containers by {facts.gpus}, and does not tell how many "
            "there are: AUTOTUNER_GPUS names those that may be used, such as 0,1."
        )
    return replace(found, note=f"{found.note} {known}", in_containers=facts.gpu_indices)


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


def _docker_facts() -> EngineFacts | None:
    """What the engine says of itself; None where none answers."""
    return _docker_facts_at(os.environ.get("DOCKER_HOST"), time.monotonic() // DOCKER_REMEMBERED_S)


@functools.lru_cache(maxsize=1)
def _docker_facts_at(host: str | None, span: float) -> EngineFacts | None:
    """Remembered for one span of time."""
    # docker-py takes a third of a second to load, which a host with a driver has no use for.
    from controllers.docker_engine import DockerEngine, DockerUnavailable, docker_address

    address = docker_address()
    if address is None:
        return None
    try:
        return DockerEngine(address).facts()
    except DockerUnavailable:
        return None


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


def metrics_of(samples: Sequence[Sequence[Gpu]]) -> dict[str, float]:
    """What samples of some cards come to: means over time, and of memory the most.

    Utilisation is the mean over the cards, memory and power their sum. Empty without samples.
    """
    if not samples:
        return {}
    most_mib = max(sum(card.used_mib for card in cards) for cards in samples)
    metrics = {"gpu_memory_used_max_mib": most_mib}
    busy = [one for one in map(_mean_utilisation, samples) if one is not None]
    power = [one for one in map(_total_power, samples) if one is not None]
    if busy:
        metrics["gpu_utilisation_mean_percent"] = fmean(busy)
    if power:
        metrics["gpu_power_mean_w"] = fmean(power)
    return metrics


def _mean_utilisation(cards: Sequence[Gpu]) -> float | None:
    told = [card.utilisation_percent for card in cards if card.utilisation_percent is not None]
    return fmean(told) if told else None


def _total_power(cards: Sequence[Gpu]) -> float | None:
    told = [card.power_w for card in cards if card.power_w is not None]
    return sum(told) if len(told) == len(cards) and told else None


class GpuSampler:
    """Looks at some cards twice a second, from `start` to `stop`. A `GpuWatch`."""

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
        self._samples: list[tuple[float, Sequence[Gpu]]] = []
        self._thread = threading.Thread(target=self._run, name="gpu sampler", daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def metrics_of_last(self, duration_s: float) -> dict[str, float]:
        """See `metrics_of`. Of a span shorter than the interval, the sample next to it counts."""
        since = time.monotonic() - duration_s
        samples = list(self._samples)
        return metrics_of([cards for at, cards in samples if at >= since] or _last_of(samples))

    def stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            cards = [gpu for gpu in self._read().gpus if gpu.index in self._indices]
            if cards and len(cards) == len(self._indices):
                self._samples.append((time.monotonic(), cards))
            if self._done.wait(self._interval_s):
                return


def _last_of(samples: Sequence[tuple[float, Sequence[Gpu]]]) -> list[Sequence[Gpu]]:
    return [cards for _, cards in samples[-1:]]
