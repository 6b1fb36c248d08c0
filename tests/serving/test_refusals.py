"""What `serve`, `worker` and `run_task --queue` refuse before they start anything."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.serving.conftest import free_port
from tuning.management.commands.serve import is_loopback, services
from tuning.serving.embedded_redis import embedded_redis_service
from tuning.serving.lock import ServeLock
from tuning.serving.services import web_address


@pytest.fixture
def data_dir(tmp_path: Path, settings: Settings) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def refusal(*arguments: Any) -> str:
    with pytest.raises(CommandError) as caught:
        call_command(*arguments)
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_taken_port_is_one_clear_line(data_dir: Path, taken_port: int) -> None:
    assert f"Port {taken_port} is taken" in refusal("serve", "--port", str(taken_port))
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_does_not_exist_is_refused(data_dir: Path, port: str) -> None:
    assert f"port {port}" in refusal("serve", "--port", port)


def test_a_host_of_another_machine_is_refused(data_dir: Path) -> None:
    assert "192.0.2.1" in refusal("serve", "--host", "192.0.2.1", "--port", str(free_port()))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_debug_pages_are_for_this_machine_only(
    data_dir: Path, settings: Settings, host: str
) -> None:
    settings.DEBUG = True
    assert "AUTOTUNER_DEBUG" in refusal("serve", "--host", host, "--port", str(free_port()))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_addresses(host: str) -> None:
    assert is_loopback(host)


def test_a_second_serve_is_refused_and_harms_nothing(data_dir: Path) -> None:
    with ServeLock(data_dir) as lock:
        lock.record([(1, 2.5)])
        before = (data_dir / "serve.lock").read_text()
        assert "Another `manage.py serve` (process " in refusal("serve")
        assert (data_dir / "serve.lock").read_text() == before
    assert not (data_dir / "serve.lock").exists()


def test_what_a_killed_serve_left_is_not_forgotten_by_one_that_is_refused(data_dir: Path) -> None:
    content = '{"serve": 1, "children": [[1, 12.0]]}'
    (data_dir / "serve.lock").write_text(content)
    with pytest.raises(KeyboardInterrupt), ServeLock(data_dir):
        raise KeyboardInterrupt
    assert "[1, 12.0]" in (data_dir / "serve.lock").read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"serve": 1'])
def test_a_lock_file_that_a_crash_cut_off_blocks_nobody(data_dir: Path, text: str) -> None:
    (data_dir / "serve.lock").write_text(text)
    with ServeLock(data_dir) as lock:
        lock.end_left_behind(pytest.fail)


def test_a_process_number_that_was_given_to_somebody_else_is_left_alone(data_dir: Path) -> None:
    (data_dir / "serve.lock").write_text('{"serve": 1, "children": [[1, 12.0]]}')
    with ServeLock(data_dir) as lock:
        lock.end_left_behind(pytest.fail)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/"),
        ("0.0.0.0", "http://127.0.0.1:8080/"),
        ("::1", "http://[::1]:8080/"),
        ("::", "http://[::1]:8080/"),
        ("localhost", "http://localhost:8080/"),
    ],
)
def test_the_address_that_is_printed_can_be_opened_on_this_machine(host: str, address: str) -> None:
    assert web_address(host, 8080) == address


def test_the_embedded_redis_listens_on_no_port_and_stores_nothing(tmp_path: Path) -> None:
    command = embedded_redis_service(tmp_path / "redis.sock").command
    assert command[command.index("--port") + 1] == "0"
    assert command[command.index("--save") + 1] == ""
    assert command[command.index("--appendonly") + 1] == "no"


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("with_worker", [True, False])
def test_what_is_started(settings: Settings, embedded: bool, with_worker: bool) -> None:
    settings.REDIS_IS_EMBEDDED = embedded
    names = [one.name for one in services("127.0.0.1", 8080, with_worker=with_worker)]
    assert names == ["redis"] * embedded + ["web"] + ["worker"] * with_worker


@pytest.mark.django_db
def test_a_worker_needs_at_least_one_process() -> None:
    assert "--concurrency" in refusal("worker", "--concurrency", "0")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments",
    [
        ["task.json", "--wait"],
        ["task.json", "--queue", "--dry-run"],
        ["task.json", "--queue", "--model-path", "."],
        ["--queue", "--resume", "1"],
        ["--queue"],
        ["no-such-file.json", "--queue"],
    ],
)
def test_contradictions_on_the_command_line(arguments: list[str]) -> None:
    assert refusal("run_task", *arguments)
