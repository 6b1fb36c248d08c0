"""Checks one by one, where the situation is easier made inside of this process."""

from __future__ import annotations

import shutil
import socket
import stat
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from autotuner_site import __version__
from controllers.gpus import Gpu, GpuInventory
from tests.docker_stand_in import StandIn, docker_stand_in
from tuning.models import WorkerHeartbeat
from tuning.system import check_engines, check_host, check_services
from tuning.system.check import Attempt, CheckState, Finding, Probe, ok
from tuning.system.checks import GROUPS, all_needed_is_there, run_checks

PROJECT = Path(__file__).resolve().parents[2]


def broken() -> Finding:
    raise RuntimeError("the lamp\nis out")


def test_a_check_that_raises_becomes_a_line() -> None:
    crashed = run_checks({"Lights": [Probe("lamp", broken), Probe("torch", broken, needed=True)]})
    assert [check.state for check in crashed] == [CheckState.WARNING, CheckState.MISSING]
    assert crashed[0].detail == "RuntimeError: the lamp is out"
    assert "docs/DOCTOR.md" in crashed[0].hint
    assert not all_needed_is_there(crashed)


def test_a_check_that_hangs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.system.check.TIME_LIMIT_S", 0.1)
    forever = threading.Event()
    started = time.monotonic()
    attempts = [Attempt(Probe(str(number), lambda: _wait_for(forever))) for number in range(10)]
    found = [attempt.finding() for attempt in attempts]
    assert time.monotonic() - started < 0.5
    assert {finding.detail for finding in found} == {"no answer within 0.1 s"}
    forever.set()


def _wait_for(event: threading.Event) -> Finding:
    event.wait()
    return ok("at last")


def test_every_check_is_explained() -> None:
    explained = (PROJECT / "docs" / "DOCTOR.md").read_text()
    for group, probes in GROUPS.items():
        assert f"\n## {group}\n" in explained
        for probe in probes:
            assert f"\n### {probe.name}\n" in explained, probe.name


def test_a_data_directory_that_is_a_file(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "file"
    settings.DATA_DIR.touch()
    found = check_host.data_directory()
    assert found.state is CheckState.MISSING
    assert "is no directory" in found.detail


def test_little_space_on_the_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 1 << 30
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=4 * gib, total=9 * gib)
    )
    found = check_host.disk()
    assert (found.state, found.detail) == (CheckState.WARNING, "4.0 of 9.0 GiB free")


def test_ports_that_are_taken_are_counted(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings.AUTOTUNER_PORT_RANGE = (port, port)
        assert check_host.ports().state is CheckState.MISSING
    settings.AUTOTUNER_MAX_RUNNING_TASKS = 2
    assert check_host.ports().state is CheckState.WARNING
    settings.AUTOTUNER_MAX_RUNNING_TASKS = 1
    assert check_host.ports().state is CheckState.OK


@pytest.mark.django_db(transaction=True)
def test_only_workers_with_a_fresh_heartbeat_are_alive(settings: Settings) -> None:
    assert check_services.workers_alive().detail == "none"
    now = timezone.now()
    silent = now - timedelta(seconds=settings.AUTOTUNER_LEASE_S + 1)
    _worker("gone/1/1.00", silent)
    assert check_services.workers_alive().detail == "none alive, 1 silent"
    _worker("here/2/2.00", now)
    found = check_services.workers_alive()
    assert (found.state, found.detail) == (CheckState.OK, "1 alive, 3 experiments at a time")
    _worker("old/3/3.00", now, version="0.0.1")
    found = check_services.workers_alive()
    assert found.state is CheckState.WARNING
    assert "some run release 0.0.1" in found.detail


def _worker(name: str, heartbeat_at: datetime, version: str = __version__) -> None:
    WorkerHeartbeat.objects.create(
        name=name,
        host=name.partition("/")[0],
        pid=1,
        version=version,
        concurrency=3,
        started_at=heartbeat_at,
        heartbeat_at=heartbeat_at,
    )


@pytest.fixture
def docker_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with docker_stand_in(tmp_path) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
        yield engine


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, "no GPUs"),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, "GPUs by the runtime nvidia"),
        (
            {
                "Runtimes": {"nvidia": {}},
                "DiscoveredDevices": [
                    {"Source": "cdi", "ID": f"nvidia.com/gpu={name}"} for name in ("1", "0")
                ],
            },
            "GPUs by nvidia.com/gpu=0, nvidia.com/gpu=1",
        ),
    ],
)
def test_docker_tells_its_version_and_how_it_gives_gpus(
    docker_engine: StandIn, info: dict[str, Any], words: str
) -> None:
    docker_engine.info = info
    assert check_engines.docker() == ok(f"29.1.0 at {docker_engine.address}, {words}")


def test_gpus_that_docker_can_not_give_are_a_warning(
    docker_engine: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Gpu(0, "GPU-0", "NVIDIA H100", 81_920.0, 0.0, None, None, None)
    monkeypatch.setattr(check_engines, "read_gpus", lambda: GpuInventory((card,)))
    found = check_engines.docker()
    assert found.state is CheckState.WARNING
    assert "NVIDIA Container Toolkit" in found.hint


@pytest.mark.parametrize(
    "address", ["unix:///no/such.sock", "tcp://127.0.0.1:1", "ssh://user@host", "nonsense"]
)
def test_a_docker_that_does_not_answer_is_a_warning(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    found = check_engines.docker()
    assert found.state is CheckState.WARNING
    assert address in found.detail
    assert found.hint


@pytest.mark.parametrize(
    ("script", "state", "detail"),
    [
        (
            "echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'; echo 'GPU 1: NVIDIA H200 (UUID: GPU-2)'",
            CheckState.OK,
            "GPU 0: NVIDIA H200, GPU 1: NVIDIA H200",
        ),
        ("echo 'no driver' >&2; exit 9", CheckState.WARNING, "nvidia-smi says no driver"),
        ("exit 9", CheckState.WARNING, "nvidia-smi says exit code 9"),
    ],
)
def test_gpus_are_what_nvidia_smi_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, state: CheckState, detail: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = check_engines.gpus()
    assert found.state is state
    assert detail in found.detail


def test_without_nvidia_smi_there_are_no_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_engines.gpus().detail.startswith("not available")
