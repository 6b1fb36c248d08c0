"""The page of checks and state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.seeding import Seeding
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.models import Experiment, Lease
from tuning.system.bug_report import bug_report
from tuning.system.check import Check, CheckState
from tuning.system.checks import GROUPS
from tuning.system.explanations import explanations
from tuning.templatetags.prose import marked, mebibytes

pytestmark = pytest.mark.django_db

BrowserOf = Callable[[User], Client]

CHECKS = [
    Check("Services", "Redis", CheckState.MISSING, "no answer <here>", "Run `serve <it>`."),
    Check("Services", "workers", CheckState.OK, "2 alive", ""),
    Check("Engines", "GPUs", CheckState.WARNING, "none", "Engines run on the CPU."),
]


def _fragment(browser: Client, target: str) -> str:
    headers = {"HX-Request": "true", "HX-Target": target}
    return browser.get(reverse("system"), headers=headers).content.decode()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.web.views.system.run_checks", lambda: CHECKS)


def test_only_staff_gets_in(browser_of: BrowserOf, owner: User) -> None:
    browser = browser_of(owner)
    assert browser.get(reverse("system")).status_code == 403
    assert "X-Problem" in browser.get(reverse("system"), headers={"HX-Request": "true"})


def test_the_page_itself_checks_nothing(
    browser_of: BrowserOf, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> None:
        raise AssertionError("The page must not wait for this.")

    monkeypatch.setattr("tuning.web.views.system.run_checks", look)
    monkeypatch.setattr("tuning.web.views.system.system_status", look)
    answer = browser_of(admin_user).get(reverse("system"))
    assert answer.status_code == 200
    assert "Check again" in answer.content.decode()


@pytest.mark.usefixtures("checked")
def test_checks_are_told_in_words_with_hints_and_explanations(
    browser_of: BrowserOf, admin_user: User
) -> None:
    text = _fragment(browser_of(admin_user), "checks")
    assert "<html" not in text
    assert "Something that the settings need is missing." in text
    assert "no answer &lt;here&gt;" in text
    assert "Run <code>serve &lt;it&gt;</code>." in text
    for state in CheckState:
        assert f">{state}</span>" in text
    # Each group once, with its checks below it.
    assert text.count("<h3>Services</h3>") == 1
    assert "Rings for workers and open pages" in text
    # The report stands outside the part that is swapped.
    assert '<pre id="bug-report" hx-swap-oob="true">' in text


def test_the_real_checks_are_shown(browser_of: BrowserOf, admin_user: User) -> None:
    text = _fragment(browser_of(admin_user), "checks")
    for probes in GROUPS.values():
        for probe in probes:
            assert f"<strong>{probe.name}</strong>" in text


def test_every_check_is_explained() -> None:
    explained = explanations()
    for probes in GROUPS.values():
        for probe in probes:
            assert explained[probe.name][0]


def test_the_bug_report_names_each_check_and_version() -> None:
    report = bug_report(CHECKS, {"autotuner": "0.1.0", "vllm": None})
    assert "Services\n  missing Redis: no answer <here>\n  ok      workers: 2 alive\n" in report
    assert "  autotuner: 0.1.0\n  vllm: not there" in report


def test_the_state_has_what_runs_and_who_runs_it(
    browser_of: BrowserOf, admin_user: User, seeding: Seeding
) -> None:
    task_id = seeding.task(fate=TaskStatus.RUNNING, experiments=3)
    running = Experiment.objects.get(task_id=task_id, status=ExperimentStatus.BENCHMARKING.value)
    now = timezone.now()
    Lease.objects.create(
        experiment=running, owner="host/12/34.5", acquired_at=now, heartbeat_at=now
    )
    text = _fragment(browser_of(admin_user), "state")
    assert reverse("experiment", args=[running.pk]) in text
    assert "run by host/12/34.5" in text
    assert f"?status={TaskStatus.RUNNING}" in text
    assert "No worker was heard of." in text


def test_the_state_takes_few_queries(
    browser_of: BrowserOf,
    admin_user: User,
    seeding: Seeding,
    django_assert_max_num_queries: Callable[..., object],
) -> None:
    for _ in range(5):
        seeding.task(fate=TaskStatus.RUNNING, experiments=2)
    browser = browser_of(admin_user)
    with django_assert_max_num_queries(12):  # type: ignore[attr-defined]
        _fragment(browser, "state")


def test_backquotes_become_code_and_nothing_else_becomes_markup() -> None:
    assert marked("run `a & b`, <i>") == "run <code>a &amp; b</code>, &lt;i&gt;"
    assert marked("one ` alone") == "one ` alone"


@pytest.mark.parametrize(
    ("size", "text"), [(None, "–"), (0.4, "0 MiB"), (512.0, "512 MiB"), (3481.6, "3.4 GiB")]
)
def test_memory_is_told_to_a_readable_unit(size: float | None, text: str) -> None:
    assert mebibytes(size) == text
