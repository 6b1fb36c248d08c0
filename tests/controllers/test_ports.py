"""No two engines ever get the same port, whoever asks for it."""

from __future__ import annotations

import multiprocessing
import socket
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from controllers.base import DeploymentError
from controllers.ports import LOOPBACK, can_bind, lease_port
from tests.controllers.conftest import WORKER
from tuning.domain.failures import FailureKind

# A range of its own for each process of pytest-xdist, below those of the other tests.
FIRST = 8101 + 10 * WORKER
RANGE = (FIRST, FIRST + 7)
PROCESSES = 6


def test_the_lowest_free_port_is_given_first(tmp_path: Path) -> None:
    with lease_port(tmp_path, RANGE) as first, lease_port(tmp_path, RANGE) as second:
        assert (first.port, second.port) == (FIRST, FIRST + 1)


def test_installations_with_locks_of_their_own_get_different_ports(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with lease_port(here, RANGE) as first, lease_port(there, RANGE) as second:
        # Nothing listens yet: an engine takes seconds until it does.
        assert (first.port, second.port) == (FIRST, FIRST + 1)
    with lease_port(there, RANGE) as again:
        assert again.port == FIRST


def test_a_released_port_is_given_again(tmp_path: Path) -> None:
    lease = lease_port(tmp_path, RANGE)
    lease.release()
    lease.release()

    with lease_port(tmp_path, RANGE) as again:
        assert again.port == lease.port


@pytest.mark.parametrize("host", [LOOPBACK, "0.0.0.0"])
def test_a_port_that_somebody_else_listens_on_is_skipped(tmp_path: Path, host: str) -> None:
    with socket.create_server((host, RANGE[0])), lease_port(tmp_path, RANGE) as lease:
        assert lease.port == RANGE[0] + 1


def test_a_port_with_connections_in_time_wait_is_free() -> None:
    with socket.create_server((LOOPBACK, RANGE[0])) as server:
        client = socket.create_connection((LOOPBACK, RANGE[0]))
        connection, _ = server.accept()
        connection.close()
        client.close()

    assert can_bind(RANGE[0])


def test_no_free_port_is_a_deployment_error_that_names_the_range(tmp_path: Path) -> None:
    only = (RANGE[0], RANGE[0])
    with lease_port(tmp_path, only), pytest.raises(DeploymentError, match=str(FIRST)) as caught:
        lease_port(tmp_path, only)

    assert caught.value.failure.kind is FailureKind.PORT_TAKEN


def test_processes_asking_at_the_same_time_get_different_ports(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    pairs = [context.Pipe() for _ in range(PROCESSES)]
    workers = [
        context.Process(target=_lease_and_wait, args=(tmp_path, barrier, theirs))
        for _, theirs in pairs
    ]
    for worker in workers:
        worker.start()
    ports = [ours.recv() for ours, _ in pairs]

    # Killed, as a crash would: the kernel gives the locks back.
    for worker in workers:
        worker.kill()
        worker.join()
    assert sorted(ports) == list(range(RANGE[0], RANGE[0] + PROCESSES))
    with lease_port(tmp_path, RANGE) as lease:
        assert lease.port == RANGE[0]


def _lease_and_wait(
    locks: Path, barrier: multiprocessing.synchronize.Barrier, answer: Connection
) -> None:
    barrier.wait()
    lease = lease_port(locks, RANGE)
    answer.send(lease.port)
    answer.recv()
