"""Every object that is made is as OME's definitions want it."""

from __future__ import annotations

import pytest

from tests.controllers.crd_schemas import full_schema, problems, reduced_schema
from tests.controllers.service_plans import OBJECTS, planned

OF_OME = [name for name, one in OBJECTS.items() if one["apiVersion"].startswith("ome.io/")]


@pytest.mark.parametrize("name", OF_OME)
def test_objects_are_as_omes_own_definitions_want_them(name: str) -> None:
    document = OBJECTS[name]

    assert problems(document, full_schema(document["kind"])) == []


@pytest.mark.parametrize("name", OF_OME)
def test_objects_are_as_the_test_clusters_definitions_want_them(name: str) -> None:
    document = OBJECTS[name]

    assert problems(document, reduced_schema(document["kind"])) == []


def test_a_misspelt_field_would_be_found() -> None:
    document = planned().inference_service
    document["spec"]["engine"]["runner"]["argz"] = ["--x"]

    for schema in (reduced_schema, full_schema):
        assert any("argz" in problem for problem in problems(document, schema(document["kind"])))
