"""Looking at the Redis-compatible server, without waiting for one that is away."""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

TIMEOUT_S = 1.0
UNREACHABLE = (RedisError, OSError, ValueError)
"""What a server that is away raises; ValueError comes from a REDIS_URL that is none."""


@dataclass(frozen=True)
class Answer:
    """`name` is the kind of server (redis, valkey); `latency_ms` is of one PING."""

    name: str
    version: str
    latency_ms: float


def ask_broker() -> Answer:
    """Ping the server and ask what it is.

    Raises:
        RedisError, OSError, ValueError: it is not there, or it does not let us in.
    """
    with _client() as client:
        client.ping()
        started = time.perf_counter()
        client.ping()
        latency_ms = (time.perf_counter() - started) * 1000
        facts = client.info("server")
    # Valkey gives a Redis version too, for clients that insist on one.
    name = facts.get("server_name", "redis")
    version = facts.get(f"{name}_version") or facts.get("redis_version", "unknown")
    return Answer(str(name), str(version), latency_ms)


def queue_depth() -> int | None:
    """Messages that no worker has taken yet; None when the server is away."""
    prefix = settings.CELERY_BROKER_TRANSPORT_OPTIONS["global_keyprefix"]
    try:
        with _client() as client:
            return int(client.llen(f"{prefix}{settings.CELERY_TASK_DEFAULT_QUEUE}"))
    except UNREACHABLE:
        return None


def broker_address() -> str:
    """REDIS_URL without user, password and options, which may hold a password too."""
    scheme, mark, place = settings.REDIS_URL.rpartition("://")
    return scheme + mark + place.partition("?")[0].rpartition("@")[2]


def _client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
        # By default a server that is away is tried again for seconds.
        retry=Retry(NoBackoff(), retries=0),
    )
