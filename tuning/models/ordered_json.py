"""A JSON field that keeps the order of keys.

In a task document that order means something: grid search goes through flags in the order of the
file, and tables show them so. PostgreSQL's jsonb sorts keys by length, its json keeps them; but
only jsonb can be compared. So the column is json, and what is looked up in it becomes jsonb.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields.json import KeyTransform
from django.db.models.sql.compiler import SQLCompiler


class OrderedJSONField(models.JSONField):
    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return "json" if connection.vendor == "postgresql" else super().db_type(connection)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        prepared = super().get_db_prep_save(value, connection)
        if connection.vendor != "postgresql" or value is None or hasattr(value, "as_sql"):
            return prepared
        # What super() prepared is bound as jsonb, and the order of the keys lost on the way.
        return json.dumps(value, cls=self.encoder)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        if isinstance(value, str):
            return super().from_db_value(value, expression, connection)
        # The driver has read json by itself, as Django asks it not to do with jsonb.
        return value

    def get_transform(self, name: str) -> Any:
        transform = models.Field.get_transform(self, name)
        return transform or (lambda *args, **kwargs: ComparableKey(name, *args, **kwargs))


class ComparableKey(KeyTransform):
    """What stands under a key of such a field, to filter and sort by."""

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, Any]:
        sql, params = super().as_postgresql(compiler, connection)  # type: ignore[misc]
        return f"{sql}::jsonb", params
