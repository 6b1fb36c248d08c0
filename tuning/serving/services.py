"""What `manage.py serve` runs: the web server and the worker, as child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from django.conf import settings

WORKER_PATIENCE_S = 40.0
"""A worker that is told to stop ends its experiments: genai-bench may take 7 s, the engine 15 s."""
WEB_PATIENCE_S = 12.0
"""Daphne gives open connections ten seconds."""
PROBE_TIMEOUT_S = 1.0


def _at_once() -> bool:
    return True


@dataclass(frozen=True)
class Service:
    """A program to keep running.

    Services start in the order in which they are given, each once the one before is `ready`, and
    stop in the reverse order. `announcement` is said when it is ready for the first time.
    `patience_s` is how long it may take to stop after a SIGTERM; `files` go when it has ended.
    Lines of its output that contain one of the texts in `noise` are not shown.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool] = _at_once
    announcement: str = ""
    patience_s: float = 5.0
    files: tuple[Path, ...] = ()
    noise: tuple[str, ...] = ()


def web_service(host: str, port: int) -> Service:
    """Daphne on the site's ASGI application; ready once it answers anything over HTTP."""
    module, _, name = settings.ASGI_APPLICATION.rpartition(".")
    url = web_address(host, port)
    return Service(
        name="web",
        command=[
            *(sys.executable, "-m", "daphne", "--verbosity", "0", "--no-server-name"),
            *("--bind", host, "--port", str(port), f"{module}:{name}"),
        ],
        environment=child_environment(),
        ready=lambda: _answers(url),
        announcement=f"Listening at {url}. Ctrl-C stops everything.",
        patience_s=WEB_PATIENCE_S,
    )


def worker_service() -> Service:
    """A Celery worker, which sweeps by itself."""
    manage = settings.BASE_DIR / "manage.py"
    return Service(
        name="worker",
        command=[sys.executable, str(manage), "worker", "--verbosity", "0"],
        environment=child_environment(),
        patience_s=WORKER_PATIENCE_S,
    )


def child_environment() -> dict[str, str]:
    """Our own, with output line by line: a child that writes into a pipe would hold it back."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def web_address(host: str, port: int) -> str:
    """Where a browser on this machine finds a server that listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{reachable}]:{port}/" if ":" in reachable else f"http://{reachable}:{port}/"


def _answers(url: str) -> bool:
    try:
        # A proxy named in the environment has no business between two processes of this machine.
        httpx.get(url, timeout=PROBE_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError:
        return False
    return True
