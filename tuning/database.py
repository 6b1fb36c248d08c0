"""Bringing the embedded database up to date, so that a fresh machine needs no extra command."""

from __future__ import annotations

import fcntl
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


class DatabaseNotReady(Exception):
    """Raised with a sentence that says what to run."""


def prepare_database() -> None:
    """Create or migrate the embedded SQLite file; a PostgreSQL database is its owner's business.

    Raises:
        DatabaseNotReady: a database named by DATABASE_URL lacks migrations.
    """
    if not _lacks_migrations():
        return
    if connection.vendor != "sqlite":
        raise DatabaseNotReady("The database lacks migrations: run `python manage.py migrate`.")
    lock = Path(settings.DATA_DIR) / "migrate.lock"
    with lock.open("w") as file:
        # Two first starts at once would both create the tables.
        fcntl.flock(file, fcntl.LOCK_EX)
        if _lacks_migrations():
            call_command("migrate", verbosity=0, interactive=False)


def _lacks_migrations() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
