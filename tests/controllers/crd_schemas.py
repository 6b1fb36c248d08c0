"""OME's own CustomResourceDefinitions as JSON Schemas, with what the API server would say or hide.

The server drops a field that it does not know without a word, so that a misspelt one is never
missed there; here it is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cluster.crds import FULL_FOLDER, reduced_crds

_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def problems(document: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with an object, each with its place."""
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@functools.cache
def reduced_schema(kind: str) -> Mapping[str, Any]:
    """Of the definitions that the project's test cluster has."""
    found = next(one for one in reduced_crds() if one["spec"]["names"]["kind"] == kind)
    return _schema(found)


@functools.cache
def full_schema(kind: str) -> Mapping[str, Any]:
    """Of OME's own definitions; the test is skipped where they are not at hand."""
    path = FULL_FOLDER / f"ome.io_{kind.lower()}s.yaml"
    if not path.is_file():
        pytest.skip(f"OME's own definitions are not at {FULL_FOLDER}")
    # The C parser needs 2 s for a file, the one in Python 30 s.
    return _schema(yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _schema(definition: Mapping[str, Any]) -> dict[str, Any]:
    (version,) = definition["spec"]["versions"]
    schema: dict[str, Any] = _strict(version["schema"]["openAPIV3Schema"])
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    return schema


def _strict(schema: Any) -> Any:
    """The schema without Kubernetes' own keywords, and with no field but those it names."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(item) for key, item in schema.items() if not _is_keyword(key, item)}
    if isinstance(schema.get("properties"), dict):
        strict["properties"] = {key: _strict(one) for key, one in schema["properties"].items()}
        if not schema.get(_PRESERVE) and "additionalProperties" not in schema:
            strict["additionalProperties"] = False
    return strict


def _is_keyword(key: str, item: Any) -> bool:
    return key.startswith("x-kubernetes-") or (key == "format" and isinstance(item, str))
