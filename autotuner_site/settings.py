"""Django settings. Everything a user may change comes from the environment (docs/SETTINGS.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dj_database_url

from autotuner_site import env

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.data_directory()

SECRET_KEY = env.secret_key(DATA_DIR)
DEBUG = env.boolean("AUTOTUNER_DEBUG", default=False)
ALLOWED_HOSTS = env.names("AUTOTUNER_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "tuning",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "autotuner_site.urls"
ASGI_APPLICATION = "autotuner_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
    }
]
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"


def _database() -> dict[str, Any]:
    url = env.text("DATABASE_URL")
    if url:
        return dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "autotuner.db",
        "OPTIONS": {
            # A transaction that reads and then writes must queue for the lock at its start:
            # SQLite answers a late upgrade with an immediate "database is locked".
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


DATABASES = {"default": _database()}

# --- The autotuner ---

AUTOTUNER_INSTANCE = env.instance_name(DATA_DIR)
AUTOTUNER_MODEL_PATH = Path(env.text("AUTOTUNER_MODEL_PATH", str(DATA_DIR / "models"))).expanduser()
AUTOTUNER_LOG_DIR = DATA_DIR / "logs"
AUTOTUNER_RESULTS_DIR = DATA_DIR / "results"
AUTOTUNER_RUNTIME_DIR = DATA_DIR / "engines"
AUTOTUNER_TOKENIZER_DIR = DATA_DIR / "tokenizers"
AUTOTUNER_PORT_RANGE = env.port_range("AUTOTUNER_PORT_RANGE", default=(8000, 8100))
AUTOTUNER_LLAMA_SERVER = env.text("AUTOTUNER_LLAMA_SERVER") or None
AUTOTUNER_BENCHMARK_API_KEY = env.text("AUTOTUNER_BENCHMARK_API_KEY") or None
AUTOTUNER_LOG_RETENTION_DAYS = env.integer("AUTOTUNER_LOG_RETENTION_DAYS", 30, at_least=1)

AUTOTUNER_MAX_RUNNING_TASKS = env.integer("AUTOTUNER_MAX_RUNNING_TASKS", 5, at_least=1)
AUTOTUNER_TASK_TIME_LIMIT_S = env.integer("AUTOTUNER_TASK_TIME_LIMIT_S", 2 * 3600, at_least=1)
# How long a worker may be silent before its experiment is given to another. The heartbeat is a
# sixth of it, the sweep comes twice in it, and a worker that can't renew it gives up at three
# quarters, so that the engine is gone before another is launched.
AUTOTUNER_LEASE_S = env.integer("AUTOTUNER_LEASE_S", 60, at_least=3)

# --- Redis: a doorbell for workers and open pages, never the truth ---

AUTOTUNER_EMBEDDED_REDIS_SOCKET = env.socket_path(DATA_DIR, AUTOTUNER_INSTANCE)
REDIS_IS_EMBEDDED = not env.text("REDIS_URL")
REDIS_URL = env.text("REDIS_URL") or f"unix://{AUTOTUNER_EMBEDDED_REDIS_SOCKET}"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            # A quiet read of 5 s is no fault, and a Redis that is away must not hold up the log.
            "hosts": [{"address": REDIS_URL, "socket_timeout": 15, "socket_connect_timeout": 2}],
            "prefix": f"autotuner-{AUTOTUNER_INSTANCE}",
        },
    }
}

# kombu spells a unix socket in its own way.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_DEFAULT_QUEUE = f"autotuner-{AUTOTUNER_INSTANCE}"
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# A message only says "look": it is acknowledged before the work, and the database lease says who
# is alive. Acknowledged late, an experiment longer than the visibility timeout would be delivered
# again and again.
CELERY_TASK_ACKS_LATE = False
# A prefetched message waits behind an experiment for hours while another worker is idle.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_CONCURRENCY = AUTOTUNER_MAX_RUNNING_TASKS
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# Redis delivers again what nobody acknowledged for this long. Messages are acknowledged when they
# arrive, so an hour only matters for one lost on its way to a worker that died; the sweep has rung
# again long before. Celery wants the number in three places and uses the smallest it finds.
_VISIBILITY_TIMEOUT_S = 3600
CELERY_VISIBILITY_TIMEOUT = _VISIBILITY_TIMEOUT_S
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": _VISIBILITY_TIMEOUT_S}
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": _VISIBILITY_TIMEOUT_S,
    "global_keyprefix": f"autotuner-{AUTOTUNER_INSTANCE}:",
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
}
# A web request must not hang because the broker is away.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"tuning": {"level": "INFO"}},
}
