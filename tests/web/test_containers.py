"""The pages of containers: who sees what, and who may stop what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from controllers.base import DeploymentIdentity
from controllers.docker_engine import Usage
from tests.docker_stand_in import StandIn, docker_stand_in
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Experiment
from tuning.plain_text import plain_line
from tuning.system.containers import CpuMeter, list_containers

pytestmark = pytest.mark.django_db

BrowserOf = Callable[[User], Client]
LIST = {"HX-Request": "true", "HX-Target": "container-list"}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with docker_stand_in(tmp_path) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


@pytest.fixture
def staff(db: None) -> User:
    """Staff with no other right."""
    return User.objects.create_user("staff", is_staff=True)


@pytest.fixture
def experiment(seeding: Seeding) -> Experiment:
    """Of a task of `owner`."""
    task_id = seeding.task(fate=TaskStatus.RUNNING, experiments=3)
    return Experiment.objects.get(task_id=task_id, number=2)


@pytest.fixture
def ours(engine: StandIn, experiment: Experiment) -> str:
    instance = settings.AUTOTUNER_INSTANCE
    identity = DeploymentIdentity(instance, experiment.task_id, experiment.pk, 1)
    engine.containers["ours"] = identity.labels
    return "ours"


@pytest.fixture
def foreign(engine: StandIn, experiment: Experiment) -> str:
    """With our task's number, which is another task's over there."""
    identity = DeploymentIdentity("elsewhere", experiment.task_id, experiment.pk, 1)
    engine.containers["foreign"] = identity.labels
    return "foreign"


def _listed(browser: Client) -> str:
    return browser.get(reverse("containers"), headers=LIST).content.decode()


def test_only_staff_gets_in(browser_of: BrowserOf, owner: User, engine: StandIn, ours: str) -> None:
    browser = browser_of(owner)
    assert browser.get(reverse("containers")).status_code == 403
    assert browser.get(reverse("container-log", args=[ours])).status_code == 403
    assert browser.post(reverse("container-stop", args=[ours])).status_code == 403
    assert engine.removed == []


def test_the_page_itself_asks_no_engine(
    browser_of: BrowserOf, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask() -> None:
        raise AssertionError("The page must not wait for an engine.")

    monkeypatch.setattr("tuning.web.views.containers.list_containers", ask)
    answer = browser_of(admin_user).get(reverse("containers"))
    assert answer.status_code == 200
    assert "Asking the Docker engine" in answer.content.decode()


def test_the_list_has_links_and_numbers(
    browser_of: BrowserOf,
    admin_user: User,
    engine: StandIn,
    experiment: Experiment,
    ours: str,
    foreign: str,
) -> None:
    text = _listed(browser_of(admin_user))
    assert "<html" not in text
    assert reverse("task", args=[experiment.task_id]) in text
    assert reverse("experiment", args=[experiment.pk]) in text
    assert "0, 1, all" in text
    assert "64 MiB" in text
    assert text.index("ours") < text.index("of another installation (elsewhere)")
    assert reverse("container-stop", args=[ours]) in text
    assert reverse("container-stop", args=[foreign]) not in text


def test_the_list_takes_few_queries(
    browser_of: BrowserOf,
    admin_user: User,
    engine: StandIn,
    ours: str,
    django_assert_max_num_queries: Callable[..., object],
) -> None:
    for number in range(20):
        engine.containers[f"more{number}"] = engine.containers[ours]
    browser = browser_of(admin_user)
    with django_assert_max_num_queries(6):  # type: ignore[attr-defined]
        _listed(browser)


def test_staff_without_rights_sees_that_there_is_a_container_and_no_more(
    browser_of: BrowserOf, staff: User, engine: StandIn, experiment: Experiment, ours: str
) -> None:
    browser = browser_of(staff)
    text = _listed(browser)
    assert ours in text
    assert experiment.task.name not in text
    assert "data-stop=" not in text
    assert browser.get(reverse("container-log", args=[ours])).status_code == 404
    assert browser.post(reverse("container-stop", args=[ours])).status_code == 404
    assert engine.removed == []


def test_staff_who_may_only_look_at_tasks_reads_and_does_not_stop(
    browser_of: BrowserOf, staff: User, engine: StandIn, ours: str
) -> None:
    staff.user_permissions.add(Permission.objects.get(codename="view_task"))
    browser = browser_of(staff)
    assert browser.get(reverse("container-log", args=[ours])).status_code == 200
    assert browser.post(reverse("container-stop", args=[ours])).status_code == 403
    assert "data-stop=" not in _listed(browser)
    assert engine.removed == []


def test_staff_stops_the_container_of_an_own_task(
    browser_of: BrowserOf, staff: User, engine: StandIn, experiment: Experiment, ours: str
) -> None:
    experiment.task.owner = staff
    experiment.task.save()
    browser = browser_of(staff)
    assert reverse("container-stop", args=[ours]) in _listed(browser)
    browser.post(reverse("container-stop", args=[ours]))
    assert "ours is stopped and removed." in browser.get(reverse("containers")).content.decode()
    assert engine.removed == [ours]


def test_a_container_of_another_installation_is_left_alone(
    browser_of: BrowserOf, admin_user: User, staff: User, engine: StandIn, foreign: str
) -> None:
    staff.user_permissions.add(*Permission.objects.filter(codename__endswith="_task"))
    for user in (admin_user, staff):
        assert browser_of(user).post(reverse("container-stop", args=[foreign])).status_code == 403
    assert browser_of(staff).get(reverse("container-log", args=[foreign])).status_code == 403
    assert engine.removed == []


def test_what_a_deleted_task_left_is_stopped_by_a_superuser_alone(
    browser_of: BrowserOf,
    admin_user: User,
    staff: User,
    engine: StandIn,
    experiment: Experiment,
    ours: str,
) -> None:
    experiment.task.delete()
    assert browser_of(staff).post(reverse("container-stop", args=[ours])).status_code == 404
    browser_of(admin_user).post(reverse("container-stop", args=[ours]))
    assert engine.removed == [ours]


def test_nothing_is_stopped_by_looking(
    browser_of: BrowserOf, admin_user: User, engine: StandIn, ours: str
) -> None:
    assert browser_of(admin_user).get(reverse("container-stop", args=[ours])).status_code == 405
    assert engine.removed == []


def test_the_log_is_plain_text_without_secrets(
    browser_of: BrowserOf,
    admin_user: User,
    engine: StandIn,
    ours: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_a-very-secret-word")
    engine.printed = (
        "\x1b[32mINFO\x1b[0m ready\nloading 1 %\rloading 100 %\n"
        "uses hf_a-very-secret-word\n<b>not bold</b>\n"
    )
    address = reverse("container-log", args=[ours])
    text = browser_of(admin_user).get(address).content.decode()
    assert "INFO ready\nloading 100 %\nuses [redacted]\n&lt;b&gt;not bold&lt;/b&gt;" in text
    assert "All 4 lines." in text
    fragment = browser_of(admin_user).get(
        address, headers={"HX-Request": "true", "HX-Target": "container-lines"}
    )
    assert fragment.content.decode().strip().startswith('<div id="container-lines">')


def test_a_container_that_is_not_there_is_not_found(
    browser_of: BrowserOf, admin_user: User, engine: StandIn
) -> None:
    browser = browser_of(admin_user)
    assert browser.get(reverse("container-log", args=["nothing"])).status_code == 404
    assert browser.post(reverse("container-stop", args=["nothing"])).status_code == 404


def test_without_an_engine_the_list_says_why_and_what_to_do(
    browser_of: BrowserOf, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such.sock")
    browser = browser_of(admin_user)
    text = _listed(browser)
    assert "unix:///no/such.sock: No such file or directory." in text
    assert "Start Docker" in text
    for answer in (
        browser.get(reverse("container-log", args=["ours"])),
        browser.post(reverse("container-stop", args=["ours"])),
    ):
        assert (answer.status_code, answer["Location"]) == (303, reverse("containers"))


def test_without_any_address_the_list_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.system.containers.docker_address", lambda: None)
    found = list_containers()
    assert "DOCKER_HOST is not set" in found.unavailable
    assert found.hint


def test_labels_of_somebody_else_s_making_do_no_harm(engine: StandIn) -> None:
    engine.containers["odd"] = {"autotuner/instance": "", "autotuner/task": "x²"}
    [found] = list_containers(measured=False).containers
    assert (found.is_ours, found.task_id, found.experiment_id) == (False, None, None)
    assert found.memory_mib is None


def test_the_share_of_the_cpu_is_that_since_the_last_look() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    meter = CpuMeter()

    def look(after_s: float, cpu_s: float) -> float | None:
        usage = Usage(at + timedelta(seconds=after_s), int(cpu_s * 1e9), None)
        return meter.percent({"one": usage})["one"]

    assert look(0, 10) is None
    assert look(5, 12.5) == pytest.approx(50)
    # Somebody else looks a moment later: too short a time to tell anything new.
    assert look(5.1, 13) == pytest.approx(50)
    assert look(10, 32.5) == pytest.approx(400)
    # Started anew.
    assert look(15, 1) is None


def test_lines_for_a_terminal_become_plain_text() -> None:
    assert plain_line("\x1b[1;32mok\x1b[0m\r\n") == "ok"
    assert plain_line("\x1b]0;title\x07\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\") == "link"
    assert plain_line(" 10 %|#  |\r 90 %|## |\x1b[K") == " 90 %|## |"
    assert plain_line("a\tb\x00\x08c") == "a\tbc"
    began = time.monotonic()
    assert len(plain_line("\x1b[" * 50_000)) <= 4_000
    assert time.monotonic() - began < 1
