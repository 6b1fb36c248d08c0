"""Transactions that must come one after another, on either database."""

from __future__ import annotations

from hashlib import blake2b

from django.db import connection


def take_turn(matter: str, key: object) -> None:
    """Wait until no other transaction has a turn in the same matter. It ends with the transaction.

    What is read after this call has what the others wrote. SQLite lets one writer in at a time
    from the beginning of its transaction on (`BEGIN IMMEDIATE`, see the settings), so there is
    nothing left to do; PostgreSQL has advisory locks for what no row stands for (manual, 13.3.5).
    """
    if connection.vendor != "postgresql":
        return
    number = int.from_bytes(
        blake2b(f"{matter}/{key}".encode(), digest_size=8).digest(), signed=True
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
