"""A grid as `benchmarks.replay.grid_file` keeps it, made for a test."""

from __future__ import annotations

from datetime import date
from typing import Any

from benchmarks.real_run.tasks import exhaustive_task
from benchmarks.replay.grid_file import (
    COLUMNS,
    Grid,
    MeasuredConfiguration,
    MeasuredEngine,
    MeasuredLoad,
    MeasuredObjective,
    this_machine,
)
from tuning.domain.failures import FailureKind
from tuning.domain.metrics import Direction
from tuning.domain.names import FlagValue
from tuning.domain.spec import parse_task

THROUGHPUT = MeasuredObjective(
    metric="output_throughput_tokens_per_s", direction=Direction.MAXIMIZE
)
LATENCY = MeasuredObjective(metric="e2e_latency_mean_s", direction=Direction.MINIMIZE)
LOADS = tuple(MeasuredLoad(scenario="D(16,12)", concurrency=users) for users in (1, 2, 4))


def launched(speed: float, **parameters: FlagValue) -> MeasuredConfiguration:
    """One that makes `speed` tokens/s at every load, and took 10 s."""
    return MeasuredConfiguration(
        parameters=parameters,
        duration_s=10.0,
        deploy_s=0.5,
        metrics={THROUGHPUT.metric: speed, LATENCY.metric: 10 / speed},
        points=tuple((2.0, speed, 10 / speed, 1 / speed, 0.8 / speed) for _ in LOADS),
    )


def crashed(**parameters: FlagValue) -> MeasuredConfiguration:
    return MeasuredConfiguration(
        parameters=parameters,
        failure=FailureKind.CRASHED,
        duration_s=3.0,
        metrics={},
        points=(None,) * len(LOADS),
    )


def grid(**changed: Any) -> Grid:
    """Twelve configurations; speed is 10 * threads + batch tokens/s, and the last crashed."""
    configurations = [
        launched(10.0 * threads + batch, threads=threads, batch=batch)
        for threads in (1, 2, 3)
        for batch in (1, 2, 3, 4)
    ]
    configurations[-1] = crashed(threads=3, batch=4)
    known: dict[str, Any] = {
        "system": "two-cores-chat",
        "recorded_on": date(2026, 11, 23),
        "machine": this_machine(),
        "engine": MeasuredEngine(name="llamacpp", version="b6000"),
        "wall_s": 130.0,
        "task": parse_task(exhaustive_task("chat")).to_document(),
        "objectives": (LATENCY, THROUGHPUT),
        "loads": LOADS,
        "columns": COLUMNS,
        "baseline": launched(15.0),
        "configurations": tuple(configurations),
    }
    return Grid(**{**known, **changed})
