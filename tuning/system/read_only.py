"""The database, opened so that nothing in it can change and nobody waits for long.

The usual connection would create the embedded database and switch it to WAL mode: a check that
mends what it looks at tells nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend

ALIAS = "read_only"
WAIT_S = 2

_WAL_FORMAT = bytes([2, 2])
"""Bytes 18 and 19 of an SQLite file in WAL mode (https://sqlite.org/fileformat2.html)."""


class NotCreatedYet(Exception):
    """The embedded database has never been used; there is no file."""


@contextmanager
def read_only_database() -> Iterator[BaseDatabaseWrapper]:
    """A connection of this thread; also usable as `.using(ALIAS)` inside the block.

    Raises:
        NotCreatedYet: the embedded database is not there.
        DatabaseError: on first use, when the database can't be reached.
    """
    settings = copy.deepcopy(connections["default"].settings_dict)
    if connections["default"].vendor == "sqlite":
        settings["NAME"] = _read_only_address(sqlite_file())
        settings["OPTIONS"] = {"timeout": WAIT_S}
    elif connections["default"].vendor == "postgresql":
        settings["OPTIONS"] = _postgresql_options(settings["OPTIONS"])
    wrapper = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, ALIAS)
    connections[ALIAS] = wrapper
    try:
        yield wrapper
    finally:
        wrapper.close()
        del connections[ALIAS]


def sqlite_file() -> Path:
    """Where the embedded database lies.

    Raises:
        NotCreatedYet: it is not there.
    """
    path = Path(connections["default"].settings_dict["NAME"])
    if not path.exists():
        raise NotCreatedYet(str(path))
    return path


def is_in_wal_mode(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20)[18:] == _WAL_FORMAT


def wal_of(database_file: Path) -> Path:
    """Where SQLite keeps what it has not yet moved into the file."""
    return database_file.with_name(database_file.name + "-wal")


def _read_only_address(path: Path) -> str:
    """SQLite makes its -wal and -shm files even for a reader, unless it is told that nothing
    changes. That is so while nobody has the database open: then there is no -wal file.

    A -wal file that a killed process left has to be read too; for that SQLite makes its index,
    the -shm file, anew.
    """
    unused = is_in_wal_mode(path) and not wal_of(path).exists()
    return f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if unused else "")


def _postgresql_options(given: dict[str, Any]) -> dict[str, Any]:
    read_only = f"-c default_transaction_read_only=on -c statement_timeout={WAIT_S * 1000}"
    return {
        **given,
        "connect_timeout": WAIT_S,
        "options": f"{given.get('options', '')} {read_only}".strip(),
    }
