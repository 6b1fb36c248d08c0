"""Hosts with as many GPUs as a test likes, and tasks whose configurations take some of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from django.utils import timezone

from controllers.base import Benchmark, Controller, GpuWatch, HostCards
from tuning.domain.names import FlagValue, LogSource
from tuning.domain.spec import TaskSpec
from tuning.models import Experiment, Task, WorkerHeartbeat
from tuning.orchestrator.lease import this_process
from tuning.orchestrator.ports import Ports

HOST = socket.gethostname()
GPUS_FLAG = "tensor-parallel-size"


@dataclass
class FakeWatch:
    """Cards that always do the same; remembers what it was asked."""

    metrics: Mapping[str, float]
    spans_s: list[float] = field(default_factory=list)
    stopped: bool = False

    def metrics_of_last(self, duration_s: float) -> Mapping[str, float]:
        self.spans_s.append(duration_s)
        return self.metrics

    def stop(self) -> None:
        self.stopped = True


@dataclass
class FakeHost:
    """`gpus` cards, some `in_use`; an engine takes as many as its `tensor-parallel-size`.

    It `takes` some also without that flag.
    The model needs cards of `model_mib`; `sizes` are those of the cards that tell.
    """

    gpus: int = 8
    in_use: set[int] = field(default_factory=set)
    gpu_watch: FakeWatch = field(default_factory=lambda: FakeWatch({}))
    watched: tuple[int, ...] = ()
    name: str = HOST
    takes: int = 0
    runs_on_cpu: bool = False
    sizes: Mapping[int, float] = field(default_factory=dict)
    model_mib: float = 0.0
    only_for_containers: bool = False

    def needed(self, spec: TaskSpec, parameters: Mapping[str, FlagValue]) -> int:
        return int(parameters.get(GPUS_FLAG, self.takes))

    def can_do_without(self, spec: TaskSpec) -> bool:
        return self.runs_on_cpu

    def fits(
        self, spec: TaskSpec, parameters: Mapping[str, FlagValue], cards_mib: Sequence[float]
    ) -> bool:
        return min(cards_mib) >= self.model_mib

    def cards(self) -> HostCards:
        return HostCards(
            self.name,
            tuple(range(self.gpus)),
            frozenset(self.in_use),
            memory_mib=self.sizes,
            only_for_containers=self.only_for_containers,
        )

    def watch(self, gpus: Sequence[int]) -> GpuWatch:
        self.watched = tuple(gpus)
        return self.gpu_watch


def ports_on(host: FakeHost, said: list[str] | None = None, **others: Any) -> Ports:
    """Ports of a worker of that host; what it logs goes to `said`."""

    def log(source: LogSource, text: str) -> None:
        if said is not None:
            said.append(text)

    return Ports(
        **{
            "instance": "test",
            "owner": this_process(),
            "controller": cast(Controller, None),
            "benchmark": cast(Benchmark, None),
            "log": log,
            "results_dir": Path("unused"),
            "tokenizer_for": lambda spec: "unused",
            "accelerators": host,
            **others,
        }
    )


def gpu_task(make_task: Callable[..., Task], **sections: Any) -> Task:
    """A running task of the docker mode; its experiments are made by `pending`."""
    task = make_task(
        deployment_mode="docker",
        base_runtime="vllm",
        model={"id_or_path": "org/model"},
        parameters={GPUS_FLAG: [1, 2, 4, 8]},
        **sections,
    )
    Task.objects.filter(pk=task.pk).update(status="RUNNING", started_at=timezone.now())
    task.refresh_from_db()
    return task


def pending(task: Task, *gpus: int) -> list[int]:
    """Experiments that take so many cards each."""
    first = task.experiments.count()
    made = Experiment.objects.bulk_create(
        Experiment(
            task=task,
            number=number,
            parameters={GPUS_FLAG: needed},
            configuration_hash=f"{number}",
        )
        for number, needed in enumerate(gpus, start=first)
    )
    return [experiment.pk for experiment in made]


def live_worker(host: str = HOST, gpus: int = 8, cards_mib: Sequence[float] = ()) -> None:
    now = timezone.now()
    WorkerHeartbeat.objects.create(
        name=f"{host}/1/1.00",
        host=host,
        pid=1,
        version="0",
        concurrency=8,
        gpus=gpus,
        cards_mib=list(cards_mib),
        started_at=now,
        heartbeat_at=now,
    )
