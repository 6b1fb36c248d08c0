"""The API keeps what its own OpenAPI document promises, whatever it is sent.

More of the same, against a server of your own: `st run http://…/api/openapi.json -H …`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from hypothesis import HealthCheck, Phase, given, seed, settings
from pytest_django import DjangoDbBlocker
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.conftest import bearer
from tests.realtime.conftest import Site
from tests.seeding import Seeding
from tests.services import database_of
from tuning.api.routes import api
from tuning.domain.lifecycle import TaskStatus

ROUTES = [
    (method, path)
    for path, methods in api.get_openapi_schema()["paths"].items()
    for method in methods
]
EXAMPLES = 15
SEED = 20
TIMEOUT_S = 10
FATES = (TaskStatus.COMPLETED, TaskStatus.RUNNING, TaskStatus.FAILED, *[TaskStatus.DRAFT] * 3)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
JUDGES_BY_ITSELF = "/api/tasks/preview"
"""It answers to a wrong document with all that is wrong with it."""


@pytest.fixture(scope="module")
def described_api(running_site: Site, django_db_blocker: DjangoDbBlocker) -> Any:
    """The API as a program sees it whose user has a few tasks and may see the installation."""
    with django_db_blocker.unblock(), database_of(running_site.installation):
        user = User.objects.create_user("fuzzer", is_staff=True)
        seeding = Seeding(user)
        tasks = [seeding.task(index, fate=fate, experiments=4) for index, fate in enumerate(FATES)]
        headers = bearer(user)
    described = schemathesis.openapi.from_url(
        f"http://{running_site.address}/api/openapi.json",
        headers=headers,
        config=SchemathesisConfig(seed=SEED),
    )
    described.config.update(headers=headers)
    described.hook("map_path_parameters")(near(tasks))
    described.hook("map_query")(no_endless_answer)
    return described


def near(task_ids: list[int]) -> Callable[[Any, Any], Any]:
    """Most numbers stand for something that is there, or just beyond it."""

    def map_path_parameters(context: Any, parameters: Any) -> Any:
        for name, value in (parameters or {}).items():
            if isinstance(value, int):
                parameters[name] = task_ids[0] + value % (len(task_ids) + 2)
        return parameters

    return map_path_parameters


def no_endless_answer(context: Any, query: Any) -> Any:
    """A stream of a task that has not ended goes on for ever; test_log_stream has those."""
    return {name: value for name, value in (query or {}).items() if name != "stream"}


def kinds_of_data(operation: Any) -> Any:
    """What the document allows; and, where there is something to send, what it does not."""
    allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not operation.body and not list(operation.iter_parameters()):
        return allowed
    return allowed | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_it_answers_as_its_document_says(described_api: Any, method: str, path: str) -> None:
    operation = described_api[path][method]
    checks = CHECKS if path == JUDGES_BY_ITSELF else [*CHECKS, negative_data_rejection]

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=kinds_of_data(operation))
    def try_out(case: Any) -> None:
        response = case.call(timeout=TIMEOUT_S)
        case.validate_response(response, checks=checks)

    try_out()
