"""Fixtures of the controllers' tests: the real sample model, ports of their own, no leftovers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psutil
import pytest

from controllers.base import (
    Controller,
    Deployment,
    DeploymentIdentity,
    DeploymentRequest,
    EngineState,
    EngineStatus,
)
from controllers.processes import MARK
from tuning.domain.names import EngineName, LogSource

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
PORT_RANGE = (8201 + 40 * WORKER, 8240 + 40 * WORKER)
"""Apart from the product's own 8000-8100, so that tests run beside a tuning, and from those of
other workers of pytest-xdist."""
INSTANCE = f"test{os.getpid()}"
"""Two test runs at once must not take each other's engines for leftovers."""


@pytest.fixture
def identity() -> DeploymentIdentity:
    return DeploymentIdentity(instance=INSTANCE, task_id=1, experiment_id=2, attempt=1)


@pytest.fixture
def request_(identity: DeploymentIdentity) -> DeploymentRequest:
    """For the sample model, by llama.cpp."""
    return DeploymentRequest(
        identity=identity,
        engine=EngineName.LLAMACPP,
        model="SmolLM2-135M-Instruct.Q4_1.gguf",
        served_model_name="small",
        parameters={"ctx-size": 256, "threads": 1},
    )


@dataclass
class Lines:
    """A log sink that remembers."""

    seen: list[str] = field(default_factory=list)

    def __call__(self, source: LogSource, line: str) -> None:
        assert source is LogSource.ENGINE
        self.seen.append(line)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Fails a test that leaves an engine behind, and ends that engine."""
    yield
    left = [process for process in psutil.process_iter() if is_engine_of_a_test(process)]
    for process in left:
        process.kill()
    assert not left, f"left behind: {left}"


def is_engine_of_a_test(process: psutil.Process) -> bool:
    try:
        mark = process.environ().get(MARK, "")
        return (
            mark.startswith(f"autotuner-{INSTANCE}-") and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, OSError):
        return False


def wait_for(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.02)


def wait_while_starting(controller: Controller, deployment: Deployment) -> EngineStatus:
    seen: list[EngineStatus] = []

    def decided() -> bool:
        seen.append(controller.status(deployment))
        return seen[-1].state is not EngineState.STARTING

    wait_for(decided)
    return seen[-1]
