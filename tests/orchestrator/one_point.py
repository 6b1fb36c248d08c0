"""A benchmark for tests of what happens around measuring: one point, which is there at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from controllers.base import BenchmarkPlan, Deployment, LoadPoint, LogSink, PointResult


def nothing() -> None:
    pass


class OnePoint:
    """The run. `on_poll` is called whenever somebody looks."""

    phase = "measuring"
    finished = True
    failure = None

    def __init__(self, result: PointResult, on_poll: Callable[[], None]) -> None:
        self._results = [result]
        self._on_poll = on_poll

    def poll(self) -> list[PointResult]:
        results, self._results = self._results, []
        self._on_poll()
        return results

    def stop(self) -> None:
        pass


@dataclass
class FakeBenchmark:
    """Each start is a run with the same result; `measured` are those that it was started for."""

    tokens_per_s: float
    num_requests: int = 10
    num_failed_requests: int = 0
    duration_s: float = 1.0
    on_poll: Callable[[], None] = nothing
    measured: list[Deployment] = field(default_factory=list)

    def start(
        self, deployment: Deployment, plan: BenchmarkPlan, workdir: Path, log: LogSink
    ) -> OnePoint:
        self.measured.append(deployment)
        metrics = {
            "output_throughput_tokens_per_s": self.tokens_per_s,
            "error_rate": self.num_failed_requests / self.num_requests,
        }
        result = PointResult(
            LoadPoint(plan.scenarios[0], plan.concurrencies[0]),
            metrics,
            self.num_requests,
            self.num_failed_requests,
            self.duration_s,
            {},
        )
        return OnePoint(result, self.on_poll)
