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
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "csp",
    "django_htmx",
    "template_partials",
    "ninja",
    "tuning",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Every page asks for a sign-in unless its view says otherwise.
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "tuning.web.middleware.sign_in_as_a_page",
]
ROOT_URLCONF = "autotuner_site.urls"
ASGI_APPLICATION = "autotuner_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["template_partials.templatetags.partials", "tuning.templatetags.show"],
        },
    }
]
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Served by daphne itself, straight from the checkout: there is no build and no collectstatic.
SERVESTATIC_USE_FINDERS = True
# Each file as it is now. Otherwise sizes are remembered from the start on, and a file that an
# editor or an update has made longer is served cut off. Costs 0.1 ms a file, 0.2 ms a page.
SERVESTATIC_AUTOREFRESH = True
# Names carry no hash, so a browser asks each time whether its copy is still good (304).
SERVESTATIC_MAX_AGE = 0

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.boolean("AUTOTUNER_HTTPS", default=False)
# Behind a proxy that ends TLS; only believed when the operator says that there is one.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SESSION_COOKIE_SECURE else None
SECURE_REFERRER_POLICY = "same-origin"
CSRF_FAILURE_VIEW = "tuning.web.views.errors.csrf_failed"
X_FRAME_OPTIONS = "DENY"
# Nothing is loaded from another host, and no script or style stands in a page. The data: images
# are the icons inside Pico's style sheet.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

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
# Containers are given models of this directory only.
DOCKER_MODEL_PATH = Path(env.text("DOCKER_MODEL_PATH", str(AUTOTUNER_MODEL_PATH))).expanduser()
AUTOTUNER_LOG_DIR = DATA_DIR / "logs"
AUTOTUNER_RESULTS_DIR = DATA_DIR / "results"
AUTOTUNER_RUNTIME_DIR = DATA_DIR / "engines"
AUTOTUNER_TOKENIZER_DIR = DATA_DIR / "tokenizers"
AUTOTUNER_PORT_RANGE = env.port_range("AUTOTUNER_PORT_RANGE", default=(8000, 8100))
AUTOTUNER_LLAMA_SERVER = env.text("AUTOTUNER_LLAMA_SERVER") or None
AUTOTUNER_ALLOWED_FLAGS = tuple(env.names("AUTOTUNER_ALLOWED_FLAGS", []))
AUTOTUNER_BENCHMARK_API_KEY = env.text("AUTOTUNER_BENCHMARK_API_KEY") or None
AUTOTUNER_LOG_RETENTION_DAYS = env.integer("AUTOTUNER_LOG_RETENTION_DAYS", 30, at_least=1)

# None: all that the driver tells of.
AUTOTUNER_GPUS = env.card_indices("AUTOTUNER_GPUS")
# The arguments of controllers.container_plan.ContainerLimits.
AUTOTUNER_DOCKER_LIMITS: dict[str, Any] = {
    "memory_mib": env.integer("AUTOTUNER_DOCKER_MEMORY_MIB", 0, at_least=6) or None,
    "pids": env.integer("AUTOTUNER_DOCKER_PIDS", 4096, at_least=1),
    "shm_mib": env.integer("AUTOTUNER_DOCKER_SHM_MIB", 16 * 1024, at_least=1),
    "ipc": env.one_of("AUTOTUNER_DOCKER_IPC", ("private", "shareable", "host")),
    "ulimits": env.ulimits("AUTOTUNER_DOCKER_ULIMITS"),
}

# The arguments of controllers.cluster.settings.ClusterSettings and of its ModelStorage.
AUTOTUNER_CLUSTER: dict[str, Any] = {
    "kubeconfig": str(Path(env.text("AUTOTUNER_KUBECONFIG")).expanduser())
    if env.text("AUTOTUNER_KUBECONFIG")
    else None,
    "context": env.text("AUTOTUNER_KUBE_CONTEXT") or None,
    "node_selector": env.labels("AUTOTUNER_OME_NODE_SELECTOR"),
    "tolerations": env.tolerations("AUTOTUNER_OME_TOLERATIONS"),
    "pending_timeout_s": float(env.integer("AUTOTUNER_OME_PENDING_TIMEOUT_S", 1800, at_least=1)),
    "create_namespace": env.boolean("AUTOTUNER_OME_CREATE_NAMESPACE", default=True),
    "reader_image": env.text("AUTOTUNER_OME_READER_IMAGE", "busybox:1.36"),
    "benchmark_image": env.text("AUTOTUNER_OME_BENCHMARK_IMAGE") or None,
}
AUTOTUNER_CLUSTER_MODELS = env.model_storage("AUTOTUNER_OME_MODEL_STORAGE")
AUTOTUNER_CLUSTER_MODEL_DIRECTORY = env.text("AUTOTUNER_OME_MODEL_DIRECTORY", "/mnt/data/models")
AUTOTUNER_CLUSTER_HUB_SECRET = env.text("AUTOTUNER_OME_HUB_SECRET") or None

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
