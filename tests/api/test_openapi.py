"""The OpenAPI document says all there is, and docs/API.md lists the same routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.test import Client

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus

pytestmark = pytest.mark.django_db

DOCS = Path(__file__).resolve().parents[2] / "docs" / "API.md"


@pytest.fixture
def document(api: Client) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/api/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert "#/components/schemas/TaskSpec" in found
    for reference in found:
        place: Any = document
        for key in reference.removeprefix("#/").split("/"):
            place = place[key]


def test_every_answer_and_every_field_has_its_schema(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert {"400", "401", "500"} <= set(operation["responses"]), path
        assert operation["summary"]
        for status, response in operation["responses"].items():
            if status == "204":
                continue
            for content in response["content"].values():
                assert content["schema"], (method, path, status)
            if int(status) >= 400:
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorDocument"}


def test_a_task_document_is_described_as_it_is_read(
    document: dict[str, Any], api: Client, seeding: Seeding, task_document: dict[str, Any]
) -> None:
    schema = {
        "$ref": "#/components/schemas/TaskSpec",
        "components": {"schemas": document["components"]["schemas"]},
    }
    jsonschema.validate(task_document, schema)
    spec = api.get(f"/api/tasks/{seeding.task(fate=TaskStatus.COMPLETED)}").json()["spec"]
    jsonschema.validate(spec, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**task_document, "parameters": {"threads": [[]]}}, schema)
    jsonschema.validate(task_document, api.get("/api/schema/task").json())


def test_the_docs_list_every_route_and_no_other(document: dict[str, Any]) -> None:
    routes = {f"{method} {path}" for method, path, _ in operations(document)}
    listed = re.findall(
        r"^\| `([A-Z]+ /api/\S+?)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(routes)


def test_the_docs_page_brings_everything_along(api: Client, admin_client: Client) -> None:
    page = admin_client.get("/api/docs").content.decode()
    assert "//cdn" not in page
    assert 'data-csrf-token="' in page
    for source in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert source.startswith("/")
