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
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "tuning",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
ROOT_URLCONF = "autotuner_site.urls"
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
    DATA_DIR.mkdir(parents=True, exist_ok=True)
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

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
