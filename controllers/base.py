"""The contracts between the orchestrator and whatever runs and measures an engine.

A `Controller` is where an engine runs, a `Benchmark` is how it is measured. Neither knows of
tasks in a database: they get values and hand back values. No method here waits for an engine or
for a benchmark to get on; the orchestrator asks again, so that one loop holds every deadline and
every cancellation. Where something else has to be waited for, that loop's tick comes along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import EngineName, FlagValue, LogSource

LogSink = Callable[[LogSource, str], None]
"""Takes one line without its newline. Called from several threads."""

Tick = Callable[[], None]
"""Called about twice a second in a long wait. What it raises ends the wait."""


def no_tick() -> None:
    """Nothing ends the wait."""


class DeploymentError(Exception):
    """Raised by `Controller.deploy` when the engine could not even be launched."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(kind, message)


@dataclass(frozen=True)
class DeploymentIdentity:
    """Whose engine this is. Name and labels follow from it, so that it can be found again.

    `instance` tells one installation of the autotuner from another on the same host or cluster:
    nothing of another instance is ever touched.
    """

    instance: str
    task_id: int
    experiment_id: int
    attempt: int

    @property
    def name(self) -> str:
        """A DNS label, at most 63 characters: valid as a container and as a Kubernetes name."""
        return f"autotuner-{self.instance}-t{self.task_id}-e{self.experiment_id}-a{self.attempt}"

    @property
    def labels(self) -> dict[str, str]:
        return {
            "autotuner/instance": self.instance,
            "autotuner/task": str(self.task_id),
            "autotuner/experiment": str(self.experiment_id),
            "autotuner/attempt": str(self.attempt),
        }

    @classmethod
    def of_labels(cls, labels: Mapping[str, str]) -> Self | None:
        """Whose engine bears these labels; None when they are not an autotuner's."""
        try:
            return cls(
                instance=labels["autotuner/instance"],
                task_id=int(labels["autotuner/task"]),
                experiment_id=int(labels["autotuner/experiment"]),
                attempt=int(labels["autotuner/attempt"]),
            )
        except (KeyError, ValueError):
            return None


@dataclass(frozen=True)
class DeploymentRequest:
    """One engine to launch.

    `model` is a path or a hub id, as the task names it. `parameters` are the engine's own flags
    without their dashes. `served_model_name` is what clients put into a request's `model`.
    `runtime_image` takes the place of the engine's own image and has no tag. `gpus` are the indices
    of the cards that are leased to the experiment. `namespace` and `runtime` are for a cluster:
    where the engine is to live, and the name of its serving runtime (None: the cluster's choice).
    """

    identity: DeploymentIdentity
    engine: EngineName
    model: str
    served_model_name: str
    parameters: Mapping[str, FlagValue]
    runtime_image: str | None = None
    runtime_image_tag: str | None = None
    namespace: str | None = None
    runtime: str | None = None
    gpus: tuple[int, ...] = ()


@dataclass(frozen=True)
class Deployment:
    """A launched engine: where it listens and the exact command that started it.

    In a cluster, `base_url` is how this process reaches it, and `namespace` is where it lives.
    """

    identity: DeploymentIdentity
    base_url: str
    command: tuple[str, ...]
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Facts that make a measurement comparable: engine version, hardware, image digest."""
    namespace: str | None = None
    gpus: int | None = None
    """How many GPUs the engine takes, where the controller alone knows: a cluster's runtime may
    have flags of its own."""


class EngineState(StrEnum):
    PENDING = "pending"
    """Not started yet, because a cluster has no room for it now. No failure, and no part of the
    time that an engine may take to start; the controller has a limit of its own for it."""
    STARTING = "starting"
    READY = "ready"
    EXITED = "exited"


@dataclass(frozen=True)
class EngineStatus:
    """`failure` is set exactly when `state` is EXITED. `detail` says, for people, what a PENDING or
    STARTING engine waits for, where that is known. `deployment` is what takes the place of the one
    that `deploy` gave, where more is known of an engine that is READY: a shorter way to it, and the
    facts of its environment."""

    state: EngineState
    failure: Failure | None = None
    detail: str = ""
    deployment: Deployment | None = None


class Controller(Protocol):
    """Launches engines somewhere. Methods may be called from any thread of one process."""

    def command_line(self, request: DeploymentRequest) -> tuple[str, ...]:
        """The command that `deploy` would run, with a placeholder port; launches nothing."""
        ...

    def check(self, request: DeploymentRequest) -> Failure | None:
        """What stands in the way of any deployment like this one (model, engine), or None."""
        ...

    def deploy(self, request: DeploymentRequest, log: LogSink, tick: Tick = no_tick) -> Deployment:
        """Launch the engine and return at once; its output goes to `log` line by line.

        Deploying an identity that is already there replaces what an earlier crash left behind.
        Only an image that has to be pulled first is waited for; `tick` is called meanwhile.

        Raises:
            DeploymentError: nothing was launched and nothing is left behind; the same holds for
                whatever `tick` raises.
        """
        ...

    def status(self, deployment: Deployment) -> EngineStatus:
        """Healthy, still starting, or gone and why. Returns within 2 seconds."""
        ...

    def exit_failure(self, deployment: Deployment) -> Failure | None:
        """Why the engine is gone, or None while it runs.

        Asks the process, container or pod and never the engine itself, so that it can be called
        many times a second while the engine is being measured.
        """
        ...

    def recent_log(self, deployment: Deployment, lines: int = 50) -> list[str]:
        """The engine's last log lines; still there after it died, until `delete`."""
        ...

    def delete(self, deployment: Deployment) -> None:
        """Stop the engine politely for 10 seconds, then by force. Deleting twice is no error."""
        ...

    def list_deployments(self, instance: str) -> list[DeploymentIdentity]:
        """Every engine of this instance that is still there, also one that a crash left behind."""
        ...

    def delete_orphan(self, identity: DeploymentIdentity) -> None:
        """Remove an engine found by `list_deployments`, whoever launched it."""
        ...


@dataclass(frozen=True)
class LoadPoint:
    """One measurement to take: a traffic scenario at a concurrency; repeats count from 0."""

    scenario: str
    concurrency: int
    repeat: int = 0


@dataclass(frozen=True)
class BenchmarkPlan:
    """Everything to measure against one deployment.

    Which of its points are measured, and in which order, is told to a `PointByPointRun` one by one.
    A point ends after `max_requests_per_point` requests or `max_time_per_point_min` minutes,
    whichever comes first. `warmup_requests` are sent before the first point and never counted.
    `tokenizer` is a directory or a hub id.
    """

    task: str
    scenarios: Sequence[str]
    concurrencies: Sequence[int]
    repeats: int
    warmup_requests: int
    max_time_per_point_min: int
    max_requests_per_point: int
    model_name: str
    tokenizer: str
    additional_params: Mapping[str, Any]
    engine: EngineName

    def points(self) -> list[LoadPoint]:
        """All load points: one whole repeat after the other."""
        return [
            LoadPoint(scenario, concurrency, repeat)
            for repeat in range(self.repeats)
            for scenario in self.scenarios
            for concurrency in self.concurrencies
        ]


class CacheFlush(StrEnum):
    """What became of an engine's prefix cache before a load point was measured.

    A prompt that an earlier point has sent costs less when it is still there.
    """

    WHOLE = "whole"
    PARTLY = "partly"
    NOT = "not"


@dataclass(frozen=True)
class PointResult:
    """What one load point gave.

    `metrics` maps names of `tuning.domain.metrics` to values: seconds, tokens/s, requests/s.
    `raw` is genai-bench's `aggregated_metrics` as it stands in its file. `cache_flush` is None
    where nobody can tell.
    """

    point: LoadPoint
    metrics: Mapping[str, float]
    num_requests: int
    num_failed_requests: int
    duration_s: float
    raw: Mapping[str, Any]
    cache_flush: CacheFlush | None = None


@dataclass(frozen=True)
class HostCards:
    """The GPUs of one host at this moment, by index.

    `in_use` are those with memory taken, whosever it is. `memory_mib` is the size of each that
    tells. `only_for_containers`: Docker has them to give, and no process of this host sees them.
    """

    host: str
    present: tuple[int, ...] = ()
    in_use: frozenset[int] = frozenset()
    memory_mib: Mapping[int, float] = field(default_factory=dict)
    only_for_containers: bool = False


class GpuWatch(Protocol):
    """Some cards, looked at from now until `stop`."""

    def metrics_of_last(self, duration_s: float) -> Mapping[str, float]:
        """What they did in the last seconds, by names of `tuning.domain.metrics`.

        Without what the cards don't tell.
        """
        ...

    def stop(self) -> None:
        """Look no more. Calling it twice is no error."""
        ...


class BenchmarkRun(Protocol):
    """A benchmark under way. The caller polls it, and always calls `stop` at the end."""

    def poll(self) -> list[PointResult]:
        """The points finished since the last call, each once; blocks no longer than a read."""
        ...

    @property
    def phase(self) -> str:
        """What it is doing now, for people: `warm-up`, `D(100,100) at concurrency 4`."""
        ...

    @property
    def finished(self) -> bool:
        """True once no further point will come."""
        ...

    @property
    def failure(self) -> Failure | None:
        """Once finished: why points are missing, or None when all are there."""
        ...

    def stop(self) -> None:
        """End every process of this run. Calling it twice is no error."""
        ...


@runtime_checkable
class PointByPointRun(BenchmarkRun, Protocol):
    """A benchmark that is told each load point, so that results decide which comes next.

    It goes on until it is stopped: `finished` before that means that it broke. A `BenchmarkRun`
    that is none of these takes all of `plan.points()` at once.
    """

    def measure(self, point: LoadPoint) -> None:
        """Measure this one next; returns at once.

        Raises:
            RuntimeError: the point before has no result yet.
        """
        ...

    @property
    def is_idle(self) -> bool:
        """True while no point is under way. Its result may still wait for `poll`."""
        ...


class Benchmark(Protocol):
    """Measures a deployed engine."""

    def start(
        self, deployment: Deployment, plan: BenchmarkPlan, workdir: Path, log: LogSink
    ) -> BenchmarkRun:
        """Begin measuring; files go into `workdir`, which is created and emptied first."""
        ...
