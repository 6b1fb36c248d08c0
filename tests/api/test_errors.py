"""Every refusal has one shape, and the paths of the command line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from tests.api.conftest import send
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import InvalidTask, parse_task
from tuning.domain.spec_document import MAX_BYTES
from tuning.models import Task

pytestmark = pytest.mark.django_db


def error_of(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The error, once it was seen to have the one shape."""
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
    document = answer.json()
    assert set(document) == {"error"}
    error = document["error"]
    assert set(error) == {"code", "message", "problems"}
    assert (error["code"], bool(error["message"])) == (code, True)
    for problem in error["problems"]:
        assert set(problem) == {"path", "message", "value"}
    assert isinstance(error, dict)
    return error


BAD_TASKS = [
    '{"task_name": "x", "task_name": "y"}',
    '{"parameters": {"threads": [1, 1], "parallel": NaN}}',
    '{"benchmrk": {}, "optimization": {"objective": "minimize_lateny"}}',
    '{"task_name": "\\u0000", "parameters": {"tp-size": 99999999999999999999}}',
    '{"slo": {"ttft_p99_s": -1, "e2e_latency": {"p90": {"max": "5"}}}}',
    "{}",
]


@pytest.mark.parametrize("text", BAD_TASKS)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_problems_of_a_task_are_those_of_the_command_line(
    api: Client, seeding: Seeding, text: str, method: str
) -> None:
    path = f"/api/tasks/{seeding.task(fate=TaskStatus.DRAFT)}" if method == "PUT" else "/api/tasks/"
    error = error_of(send(api, method, path, text), 422, "invalid_task")
    with pytest.raises(InvalidTask) as refused:
        parse_task(text)
    assert error["problems"] == [
        {"path": one.path, "message": one.message, "value": one.value}
        for one in refused.value.problems
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b"\xff{}", b"[" * 100_000])
def test_what_is_no_json_object(api: Client, body: bytes) -> None:
    error = error_of(send(api, "POST", "/api/tasks/", body), 400, "bad_json")
    (problem,) = error["problems"]
    assert problem["path"] == ""


@pytest.mark.parametrize("path", ["/api/tasks/", "/api/tasks/preview"])
def test_a_body_that_is_too_large(api: Client, path: str) -> None:
    error_of(send(api, "POST", path, b" " * (MAX_BYTES + 1)), 413, "too_large")
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10):
        error_of(send(api, "POST", path, b" " * 11), 413, "too_large")


@pytest.mark.parametrize(
    ("query", "path", "value"),
    [
        ("page=0", "query.page", '"0"'),
        ("page_size=x", "query.page_size", '"x"'),
        ("status=RUNNING&status=BUSY", "query.status[1]", '"BUSY"'),
        ("q=%00", "query.q", '"\\u0000"'),
        ("created_from=yesterday", "query.created_from", '"yesterday"'),
        ("sort=luck", "query.sort", '"luck"'),
    ],
)
def test_a_parameter_that_makes_no_sense(api: Client, query: str, path: str, value: str) -> None:
    error = error_of(api.get(f"/api/tasks/?{query}"), 422, "invalid_parameters")
    (problem,) = error["problems"]
    assert (problem["path"], problem["value"]) == (path, value)


def test_a_header_that_makes_no_sense(api: Client, seeding: Seeding) -> None:
    path = f"/api/tasks/{seeding.task()}/logs"
    error = error_of(api.get(path, headers={"Last-Event-ID": "x"}), 422, "invalid_parameters")
    assert error["problems"][0]["path"] == "header.Last-Event-ID"


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/nope",
        "/api/tasks",
        "/api/tasks/x",
        "/api/tasks/-1",
        "/api/tasks/99",
        f"/api/tasks/{10**30}",
        f"/api/tasks/{'9' * 5000}",
        f"/api/experiments/{10**30}",
        "/api/tasks/99/export?format=csv",
    ],
)
def test_what_is_not_there(api: Client, path: str) -> None:
    error_of(api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/api/tasks/", {"GET", "POST"}),
        ("GET", "/api/tasks/1/start", {"POST"}),
        ("POST", "/api/openapi.json", {"GET"}),
    ],
)
def test_a_method_that_makes_no_sense(
    api: Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = api.generic(method, path)
    error_of(answer, 405, "method_not_allowed")
    assert set(answer["Allow"].split(", ")) == allowed


def test_what_the_state_of_a_task_forbids(
    api: Client, seeding: Seeding, task_document: dict[str, Any]
) -> None:
    path = f"/api/tasks/{seeding.task(fate=TaskStatus.RUNNING)}"
    answers = [
        send(api, "PUT", path, task_document),
        send(api, "DELETE", path),
        send(api, "POST", f"{path}/start"),
        send(api, "POST", f"/api/tasks/{seeding.task(fate=TaskStatus.COMPLETED)}/pause"),
    ]
    for answer in answers:
        error_of(answer, 409, "conflict")
    assert Task.objects.count() == 2


def test_what_others_have_is_not_there_and_what_one_may_see_is_not_to_be_changed(
    api_of: Callable[[User], Client], stranger: User, seeding: Seeding
) -> None:
    path = f"/api/tasks/{seeding.task(fate=TaskStatus.DRAFT)}"
    error_of(send(api_of(stranger), "POST", f"{path}/start"), 404, "not_found")
    stranger.user_permissions.add(Permission.objects.get(codename="view_task"))
    error_of(send(api_of(stranger), "POST", f"{path}/start"), 403, "forbidden")


def test_our_own_mistakes_are_logged_and_not_shown(
    api: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("with a secret")

    monkeypatch.setattr("tuning.api.system.task_json_schema", broken)
    with caplog.at_level(logging.ERROR, logger="tuning.api.errors"):
        answer = api.get("/api/schema/task")
    error_of(answer, 500, "internal_error")
    assert "secret" not in answer.content.decode()
    assert "with a secret" in caplog.text


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_body_in_a_form_of_its_own(owner: User, content_type: str) -> None:
    """Where Django looks for a CSRF token in the body."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    browser.get("/api/docs")
    token = browser.cookies["csrftoken"].value
    part = (
        f'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n--x--'
    )
    answer = browser.generic("POST", "/api/tasks/", data=part, content_type=content_type)
    error_of(answer, 400, "bad_request")


def test_more_parameters_than_anybody_needs(api: Client) -> None:
    error_of(api.get("/api/tasks/?" + "&".join(["q=1"] * 2000)), 400, "bad_request")
