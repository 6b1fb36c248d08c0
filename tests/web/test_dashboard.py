"""The dashboard: what needs attention, what runs and waits, what came out, the installation."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from controllers.gpus import Gpu, GpuInventory
from tests.seeding import Seeding
from tuning.domain.lifecycle import TaskStatus
from tuning.models import Experiment, Lease, Task, WorkerHeartbeat
from tuning.models.experiment import RUNNING_EXPERIMENT_STATUSES
from tuning.system.orphans import FoundOrphans, Orphan
from tuning.web import attention
from tuning.web.views import dashboard

pytestmark = pytest.mark.django_db

BrowserOf = Callable[[User], Client]


@pytest.fixture
def browser(browser_of: BrowserOf, owner: User) -> Client:
    return browser_of(owner)


def page(browser: Client) -> str:
    answer = browser.get("/")
    assert answer.status_code == 200
    return answer.content.decode()


def section(browser: Client, name: str) -> str:
    """What stands under one heading of the page; '' without it."""
    found = re.search(rf'aria-labelledby="{name}-heading">(.*?)</section>', page(browser), re.S)
    return found[1] if found else ""


def notes(browser: Client) -> list[str]:
    """What needs attention, from the top, without markup."""
    found = re.findall(r'<div class="note[^>]*>(.*?)</div>', section(browser, "attention"), re.S)
    return [" ".join(re.sub(r"<[^>]+>", " ", note).split()) for note in found]


def fragment(browser: Client, name: str) -> Any:
    return browser.get("/", headers={"HX-Request": "true", "HX-Target": name})


def worker(*, silent_s: float = 0) -> None:
    now = timezone.now()
    WorkerHeartbeat.objects.create(
        name=f"host/{silent_s}",
        host="gpu-host-7",
        pid=17,
        version="0.1",
        concurrency=3,
        started_at=now - timedelta(hours=1),
        heartbeat_at=now - timedelta(seconds=silent_s),
    )


# --- What needs attention ---


def test_a_quiet_installation_needs_nothing(browser: Client, seeding: Seeding) -> None:
    worker()
    seeding.task(0, fate=TaskStatus.COMPLETED)
    assert notes(browser) == []
    assert "Nothing: all is well." in section(browser, "attention")


def test_tasks_that_wait_without_a_worker_come_first(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.FAILED)
    seeding.task(1, fate=TaskStatus.PENDING)
    assert notes(browser)[0].startswith("A task waits, and no worker is alive.")
    worker(silent_s=3600)
    assert "no worker is alive" in notes(browser)[0]
    worker()
    assert not any("no worker" in note for note in notes(browser))


def test_a_task_with_a_process_of_its_own_needs_no_worker(
    browser: Client, seeding: Seeding
) -> None:
    task_id = seeding.task(1, fate=TaskStatus.PENDING)
    Task.objects.filter(pk=task_id).update(driver="host/1/2")
    assert notes(browser) == []
    assert section(browser, "queue") == ""


def test_a_failure_is_news_for_a_day(browser: Client, seeding: Seeding) -> None:
    fresh = seeding.task(0, age=1, fate=TaskStatus.FAILED)
    old = seeding.task(0, age=20, fate=TaskStatus.FAILED)
    (note,) = notes(browser)
    assert f"#{fresh} " in note
    assert "out_of_memory" in note
    assert f"#{old} " not in note
    assert f'href="/tasks/{fresh}/"' in section(browser, "attention")


def test_many_failures_are_counted(browser: Client, seeding: Seeding) -> None:
    for _ in range(5):
        seeding.task(0, fate=TaskStatus.FAILED, experiments=2)
    assert len(notes(browser)) == 4
    assert notes(browser)[-1].startswith("2 more failed within 24 hours.")
    assert 'href="/tasks/?status=FAILED"' in section(browser, "attention")


def test_paused_tasks_and_drafts_are_brought_to_mind(browser: Client, seeding: Seeding) -> None:
    paused = seeding.task(0, fate=TaskStatus.PAUSED)
    drafts = [seeding.task(1, fate=TaskStatus.DRAFT) for _ in range(2)]
    about_paused, about_drafts = notes(browser)
    assert f"#{paused} " in about_paused
    assert "is paused" in about_paused
    assert about_drafts.startswith(f"{len(drafts)} drafts of yours are not started.")
    assert 'href="/tasks/?status=DRAFT"' in section(browser, "attention")


def test_drafts_of_others_bother_nobody(admin_client: Client, seeding: Seeding) -> None:
    seeding.task(1, fate=TaskStatus.DRAFT)
    assert notes(admin_client) == []


def test_an_expired_lease_names_its_experiment(browser: Client, seeding: Seeding) -> None:
    worker()
    task_id = seeding.task(0, fate=TaskStatus.RUNNING)
    experiment = Experiment.objects.get(task=task_id, status__in=RUNNING_EXPERIMENT_STATUSES)
    now = timezone.now()
    lease = Lease.objects.create(
        experiment=experiment, owner="gpu-host-7/17/1.0", acquired_at=now, heartbeat_at=now
    )
    assert notes(browser) == []
    Lease.objects.update(heartbeat_at=now - timedelta(seconds=190))
    (note,) = notes(browser)
    assert f"Experiment {experiment.number} of task #{task_id}" in note
    assert lease.owner in note
    assert "silent for 3:1" in note


def test_a_redis_that_is_away_is_told_to_staff(
    admin_client: Client, settings: LazySettings
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    settings.REDIS_IS_EMBEDDED = False
    text = fragment(admin_client, "host-notices").content.decode()
    assert "Redis: no answer at redis://127.0.0.1:1/0" in text
    assert 'href="/system/"' in text


def test_a_full_disk_is_told_to_staff(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil._ntuple_diskusage(100 << 30, 99 << 30, 1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    text = fragment(admin_client, "host-notices").content.decode()
    assert "Disk: 1.0 of 100.0 GiB free" in text


def test_engines_that_run_for_nobody_are_told_to_staff(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan = Orphan("autotuner-x-17-2", "local", task_id=17, experiment_id=204, attempt=2)
    found = FoundOrphans((orphan,), {"docker": "permission denied"})
    monkeypatch.setattr(attention, "find_orphans", lambda instance: found)
    text = fragment(admin_client, "host-notices").content.decode()
    assert "autotuner-x-17-2" in text
    assert "permission denied" in text


# --- What runs, waits and came out ---


def test_a_running_task_shows_how_far_it_is(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, experiments=8, fate=TaskStatus.RUNNING)
    current = Experiment.objects.get(task=task_id, status__in=RUNNING_EXPERIMENT_STATUSES)
    Experiment.objects.filter(pk=current.pk).update(started_at=timezone.now())
    card = section(browser, "running")
    assert "7 of 14 experiments" in card
    assert re.search(r"about \d+:\d\d to go", card)
    assert f'href="/experiments/{current.pk}/"' in card
    assert "badge-BENCHMARKING" in card
    assert re.search(r"[+-]\d+ % over the baseline", card)


def test_a_task_before_its_first_result(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.PENDING)
    Task.objects.filter(pk=task_id).update(
        status=TaskStatus.RUNNING.value, started_at=timezone.now()
    )
    card = section(browser, "running")
    assert "ETA after the first one" in card
    assert "between two experiments" in card
    assert "no result yet" in card


def test_the_queue_counts_the_tasks_of_all(
    browser_of: BrowserOf, stranger: User, seeding: Seeding
) -> None:
    others = seeding.task(0, fate=TaskStatus.PENDING)
    mine = Seeding(stranger).task(1, fate=TaskStatus.PENDING)
    queue = section(browser_of(stranger), "queue")
    assert f"#{mine} " in queue
    assert f"#{others} " not in queue
    assert '<td class="number">2</td>' in queue


def test_a_long_queue_is_cut(browser: Client, seeding: Seeding) -> None:
    for _ in range(12):
        seeding.task(0, fate=TaskStatus.PENDING)
    queue = section(browser, "queue")
    assert queue.count('id="queued-') == 10
    assert "2 more" in queue


def test_recent_results_are_the_last_that_ended(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(1, age=age, fate=TaskStatus.COMPLETED) for age in range(10, 0, -1)]
    shown = re.findall(r'id="recent-(\d+)"', section(browser, "recent"))
    assert [int(one) for one in shown] == ids[::-1][:8]
    assert re.search(r"\+\d+ %", section(browser, "recent"))
    assert "tokens/s" in section(browser, "recent")


def test_who_has_no_task_is_welcomed(browser: Client, stranger: User) -> None:
    text = page(browser)
    assert "Find the fastest way to serve your model" in text
    assert "Running now" not in text
    Seeding(stranger).task(0, fate=TaskStatus.COMPLETED)
    assert "Find the fastest way to serve your model" in page(browser)


def test_who_has_one_draft_is_not_new(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    assert "Find the fastest way" not in page(browser)


# --- The installation, and rights ---


def test_staff_sees_the_workers(admin_client: Client) -> None:
    worker()
    worker(silent_s=900)
    text = section(admin_client, "installation")
    assert text.count("gpu-host-7") == 2
    assert "alive" in text
    assert "silent" in text
    assert "15:00 ago" in text


def test_others_only_learn_how_many_workers_there_are(browser: Client, seeding: Seeding) -> None:
    worker()
    text = page(browser)
    assert "1 worker alive." in text
    for hidden in ("gpu-host-7", socket.gethostname(), 'id="engines"', 'id="host-notices"', "GiB"):
        assert hidden not in text.split("<main")[1]


@pytest.mark.parametrize("name", list(dashboard.HOST_FRAGMENTS))
def test_the_host_is_for_staff(browser: Client, name: str) -> None:
    assert fragment(browser, name).status_code == 403


@pytest.mark.parametrize("name", list(dashboard.HOST_FRAGMENTS))
def test_parts_about_the_host_come_by_themselves(
    admin_client: Client, name: str, tmp_path: Path, settings: LazySettings
) -> None:
    settings.REDIS_URL = f"unix://{tmp_path}/nobody.sock"
    text = fragment(admin_client, name).content.decode()
    assert "<html" not in text
    assert text.strip()
    assert f'id="{name}"' in page(admin_client)


def test_engines_say_whether_they_can_run_here(admin_client: Client) -> None:
    text = fragment(admin_client, "engines").content.decode()
    for name in ("sglang", "vllm", "llamacpp"):
        assert f'<th scope="row">{name}</th>' in text


def test_a_host_without_gpus_says_so(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    none = GpuInventory((), note="NVML Shared Library Not Found")
    monkeypatch.setitem(dashboard.HOST_FRAGMENTS, "gpus", lambda: none)
    assert "No GPU found on this host" in fragment(admin_client, "gpus").content.decode()


def test_gpus_show_their_load(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Gpu(0, "GPU-1", "NVIDIA H200", 143771.0, 1024.0, utilisation_percent=87.0)
    monkeypatch.setitem(
        dashboard.HOST_FRAGMENTS, "gpus", lambda: GpuInventory((card,), driver="570.1")
    )
    text = fragment(admin_client, "gpus").content.decode()
    assert "NVIDIA H200" in text
    assert "87 %" in text
    assert '<progress max="143771" value="1024"' in text


def test_a_stranger_sees_nothing_of_others(
    browser_of: BrowserOf, seeding: Seeding, stranger: User
) -> None:
    for fate in TaskStatus:
        seeding.task(0, fate=fate, experiments=2)
    text = page(browser_of(stranger)).split("<main")[1]
    assert "llama" not in text.replace("llamacpp", "")
    assert notes(browser_of(stranger)) == []


def test_news_come_as_the_board_alone(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.RUNNING)
    text = fragment(browser, "board").content.decode()
    assert text.strip().startswith('<div id="board"')
    assert "<html" not in text


@pytest.mark.parametrize("is_superuser", [True, False])
def test_many_tasks_take_few_queries(
    browser_of: BrowserOf,
    owner: User,
    seeding: Seeding,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    is_superuser: bool,
) -> None:
    owner.is_superuser = owner.is_staff = is_superuser
    owner.save()
    for index in range(36):
        seeding.task(index, experiments=3, fate=list(TaskStatus)[index % len(TaskStatus)])
    browser = browser_of(owner)
    with django_assert_max_num_queries(15):
        assert browser.get("/").status_code == 200
