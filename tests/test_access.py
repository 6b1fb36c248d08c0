"""Every address of the site, tried by nobody and by somebody without rights: all refused.

An address that is missing in the tables below fails the first test: whoever adds one says here who
may open it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Experiment, Task
from tuning.models.api_token import issue_token

SECRET_NAME = "Nobody else's business"


class For(Enum):
    """Who may open an address."""

    EVERYBODY = "no sign-in needed; each has its reason beside it"
    USERS = "whoever is signed in; it shows only what is theirs"
    VIEWERS = "whoever may see the task; for others it does not exist"
    CHANGERS = "whoever may change the task"
    STAFF = "staff: it is about the whole installation"


PAGES: dict[str, tuple[str, For]] = {
    "dashboard": ("GET", For.USERS),
    "task-list": ("GET", For.USERS),
    "task-bulk": ("POST", For.USERS),
    "task-import": ("GET", For.USERS),
    "task-new": ("GET", For.USERS),
    "task-preview": ("POST", For.USERS),
    "task": ("GET", For.VIEWERS),
    "task-edit": ("GET", For.CHANGERS),
    "task-duplicate": ("POST", For.VIEWERS),
    "task-action": ("POST", For.CHANGERS),
    "task-charts": ("GET", For.VIEWERS),
    "task-winner": ("GET", For.VIEWERS),
    "task-export": ("GET", For.VIEWERS),
    "task-log": ("GET", For.VIEWERS),
    "task-log-download": ("GET", For.VIEWERS),
    "task-log-lines": ("GET", For.VIEWERS),
    "experiment": ("GET", For.VIEWERS),
    "experiment-raw": ("GET", For.VIEWERS),
    "compare": ("GET", For.USERS),
    "containers": ("GET", For.STAFF),
    "container-log": ("GET", For.STAFF),
    "container-stop": ("POST", For.STAFF),
    "system": ("GET", For.STAFF),
    # One can't be signed in before signing in; the link's secret is its own key.
    "login": ("GET", For.EVERYBODY),
    "first-user": ("GET", For.EVERYBODY),
    "logout": ("POST", For.USERS),
    "profile": ("GET", For.USERS),
    "alive": ("GET", For.USERS),
    "password-change": ("GET", For.USERS),
    "token-make": ("POST", For.USERS),
    "token-revoke": ("POST", For.USERS),
}

API: dict[tuple[str, str], For] = {
    ("POST", "/api/tasks/"): For.USERS,
    ("GET", "/api/tasks/"): For.USERS,
    ("POST", "/api/tasks/preview"): For.USERS,
    ("GET", "/api/tasks/{task_id}"): For.VIEWERS,
    ("PUT", "/api/tasks/{task_id}"): For.CHANGERS,
    ("DELETE", "/api/tasks/{task_id}"): For.CHANGERS,
    ("POST", "/api/tasks/{task_id}/start"): For.CHANGERS,
    ("POST", "/api/tasks/{task_id}/cancel"): For.CHANGERS,
    ("POST", "/api/tasks/{task_id}/pause"): For.CHANGERS,
    ("POST", "/api/tasks/{task_id}/resume"): For.CHANGERS,
    ("POST", "/api/tasks/{task_id}/duplicate"): For.VIEWERS,
    ("GET", "/api/tasks/{task_id}/logs"): For.VIEWERS,
    ("GET", "/api/tasks/{task_id}/export"): For.VIEWERS,
    ("GET", "/api/experiments/task/{task_id}"): For.VIEWERS,
    ("GET", "/api/experiments/{experiment_id}"): For.VIEWERS,
    ("GET", "/api/docker/containers"): For.STAFF,
    ("GET", "/api/system/health"): For.USERS,
    ("GET", "/api/system/status"): For.STAFF,
    ("GET", "/api/schema/task"): For.USERS,
}
API_PAGES = ("api:openapi-json", "api:openapi-view")


@pytest.fixture
def task(seeding: Seeding) -> Task:
    task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED))
    task.name = SECRET_NAME
    task.save()
    return task


@pytest.fixture
def nobody() -> Client:
    return Client()


def page_names() -> set[str]:
    from tuning.web.urls import urlpatterns

    return {str(pattern.name) for pattern in urlpatterns}


def arguments_of(name: str, task: Task) -> dict[str, Any]:
    """Arguments for an address about this task."""
    experiment = Experiment.objects.filter(task=task).first()
    assert experiment is not None
    known = {
        "task_id": task.pk,
        "experiment_id": experiment.pk,
        "token_id": 1,
        "action": "delete",
        "kind": "json",
        "name": f"autotuner-x-t{task.pk}-e1-a1",
        "secret": "guessed",
    }
    resolver = get_resolver()
    (_, names), *_ = resolver.reverse_dict.getlist(name)[0][0]
    return {argument: known[argument] for argument in names}


def admin_addresses(task: Task) -> Iterator[str]:
    def walk(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
        for pattern in patterns:
            route = before + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            else:
                yield route

    admin = next(
        one
        for one in get_resolver().url_patterns
        if isinstance(one, URLResolver) and one.namespace == "admin"
    )
    for route in walk(admin.url_patterns, "/admin/"):
        yield (
            route.replace("<path:object_id>", str(task.pk))
            .replace("<id>", str(task.pk))
            .replace("<int:content_type_id>/<path:object_id>", f"1/{task.pk}")
            .replace("<int:content_type_id>", "1")
            .replace("(?P<app_label>auth|tuning)", "tuning")
            .replace("^", "")
            .replace("$", "")
        )


def open_page(client: Client, name: str, task: Task) -> Any:
    method, _ = PAGES[name]
    address = reverse(name, kwargs=arguments_of(name, task))
    return client.generic(method, address)


def open_api(client: Client, method: str, path: str, task: Task, token: str = "") -> Any:
    experiment = Experiment.objects.filter(task=task).first()
    assert experiment is not None
    address = path.replace("{task_id}", str(task.pk)).replace("{experiment_id}", str(experiment.pk))
    query = "?format=json" if path.endswith("/export") else ""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.generic(
        method, address + query, data="{}", content_type="application/json", headers=headers
    )


def test_each_page_is_listed_here() -> None:
    assert page_names() == set(PAGES)


def test_each_route_of_the_api_is_listed_here() -> None:
    from tuning.api.routes import api

    paths = api.get_openapi_schema()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert routes == set(API)


def test_nothing_else_is_served() -> None:
    prefixes = [str(one.pattern) for one in get_resolver().url_patterns]
    assert prefixes == ["", "admin/", "api/"]


@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_led_to_the_sign_in(nobody: Client, task: Task, name: str) -> None:
    answer = open_page(nobody, name, task)
    if PAGES[name][1] is For.EVERYBODY:
        assert SECRET_NAME not in answer.content.decode()
        return
    assert answer.status_code == 302
    # Signing out leads there by itself.
    assert answer["Location"].startswith("/login/")


@pytest.mark.parametrize(("method", "path"), API)
def test_nobody_is_refused_by_the_api(nobody: Client, task: Task, method: str, path: str) -> None:
    answer = open_api(nobody, method, path, task)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "not_signed_in"
    made_up = open_api(nobody, method, path, task, "llmat_made-up")
    assert made_up.status_code == 401


@pytest.mark.parametrize("name", API_PAGES)
def test_nobody_reads_about_the_api(nobody: Client, name: str) -> None:
    assert nobody.get(reverse(name)).status_code in {302, 401}


@pytest.mark.parametrize("name", PAGES)
def test_somebody_without_rights_sees_nothing_of_others(
    browser_of: Callable[[User], Client], stranger: User, task: Task, name: str
) -> None:
    answer = open_page(browser_of(stranger), name, task)
    expected = {For.STAFF: {403}, For.VIEWERS: {404}, For.CHANGERS: {404}}
    who = PAGES[name][1]
    assert answer.status_code in expected.get(who, {200, 204, 302, 303, 404, 422})
    assert SECRET_NAME not in answer.content.decode()
    assert Task.objects.filter(pk=task.pk).exists()


@pytest.mark.parametrize(("method", "path"), API)
def test_a_token_without_rights_gets_nothing_of_others(
    nobody: Client, stranger: User, task: Task, method: str, path: str
) -> None:
    _, secret = issue_token(stranger, "test")
    answer = open_api(nobody, method, path, task, secret)
    expected = {For.STAFF: {403}, For.VIEWERS: {404}, For.CHANGERS: {404}}
    assert answer.status_code in expected.get(API[method, path], {200, 422})
    assert SECRET_NAME not in answer.content.decode()
    assert Task.objects.filter(pk=task.pk).exists()


@pytest.mark.parametrize("name", [name for name, (_, who) in PAGES.items() if who is For.CHANGERS])
def test_who_may_only_look_can_change_nothing_in_the_pages(
    browser_of: Callable[[User], Client], stranger: User, task: Task, name: str
) -> None:
    stranger.user_permissions.add(Permission.objects.get(codename="view_task"))
    assert open_page(browser_of(stranger), name, task).status_code == 403
    assert Task.objects.filter(pk=task.pk).exists()


@pytest.mark.parametrize(
    ("method", "path"), [route for route, who in API.items() if who is For.CHANGERS]
)
def test_who_may_only_look_can_change_nothing_through_the_api(
    nobody: Client, stranger: User, task: Task, method: str, path: str
) -> None:
    stranger.user_permissions.add(Permission.objects.get(codename="view_task"))
    _, secret = issue_token(stranger, "test")
    answer = open_api(nobody, method, path, task, secret)
    assert answer.status_code == 403
    assert Task.objects.filter(pk=task.pk).exists()


def test_the_admin_is_closed_to_nobody_and_to_users_who_are_not_staff(
    nobody: Client, browser_of: Callable[[User], Client], stranger: User, task: Task
) -> None:
    addresses = list(admin_addresses(task))
    assert len(addresses) > 30
    for client in (nobody, browser_of(stranger)):
        for address in addresses:
            for answer in (client.get(address), client.post(address)):
                assert answer.status_code in {301, 302, 403, 404}, address
                assert SECRET_NAME not in answer.content.decode()


def test_staff_without_rights_finds_the_admin_empty(
    browser_of: Callable[[User], Client], stranger: User, task: Task
) -> None:
    stranger.is_staff = True
    stranger.save()
    client = browser_of(stranger)
    for address in admin_addresses(task):
        assert SECRET_NAME not in client.get(address).content.decode(), address


def test_a_page_elsewhere_cannot_act_in_a_users_name(owner: User, task: Task) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(owner)
    for name, (method, _) in PAGES.items():
        if method == "POST" and name != "logout":
            assert open_page(careful, name, task).status_code == 403, name
    for method, path in API:
        if method != "GET":
            assert open_api(careful, method, path, task).status_code == 403, path
    assert Task.objects.filter(pk=task.pk).exists()
