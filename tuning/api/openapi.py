"""What ninja can't know of the API by itself, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tuning.api.authentication import SECURITY_SCHEMES
from tuning.api.task_body import TASK_SCHEMA
from tuning.domain.spec import task_json_schema

Schema = dict[str, Any]

_COMPONENT = "#/components/schemas/"

_EVERYWHERE = {
    "400": "Bad Request",
    "401": "Unauthorized",
    "500": "Internal Server Error",
}
"""What any operation may answer, by status."""


def completed(document: Schema) -> Schema:
    """The document with the task's own schema, the sign-in, and the errors of every operation."""
    schemas = document["components"]["schemas"]
    schemas.update(_task_schemas())
    schemas["TaskDetail"]["properties"]["spec"] = {"$ref": _COMPONENT + TASK_SCHEMA}
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    for operation in _operations(document):
        for status, description in _EVERYWHERE.items():
            operation["responses"][int(status)] = _error(description)
        for parameter in operation["parameters"]:
            parameter["schema"] = _without_null(parameter["schema"])
    return document


def _operations(document: Schema) -> Iterator[Schema]:
    for path in document["paths"].values():
        yield from path.values()


def _without_null(schema: Schema) -> Schema:
    """A parameter is left out; it is never null."""
    forms: list[Schema] = [form for form in schema.get("anyOf", ()) if form != {"type": "null"}]
    if len(forms) != 1:
        return schema
    return {key: item for key, item in schema.items() if key != "anyOf"} | forms[0]


def _error(description: str) -> Schema:
    schema = {"$ref": f"{_COMPONENT}ErrorDocument"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _task_schemas() -> Schema:
    """The task's schema and its parts, which in an OpenAPI document lie side by side."""
    schema = _relocated(task_json_schema())
    parts = schema.pop("$defs")
    del schema["$schema"]
    return {TASK_SCHEMA: schema, **parts}


def _relocated(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: item.replace("#/$defs/", _COMPONENT) if key == "$ref" else _relocated(item)
            for key, item in value.items()
        }
    return [_relocated(item) for item in value] if isinstance(value, list) else value
