"""The page of tasks: filters, order, pages, rights, and acting on several tasks."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tests.seeding import Seeding
from tuning.domain.lifecycle import ExperimentStatus, TaskStatus
from tuning.models import Experiment, Task
from tuning.progress import read_progress
from tuning.task_rows import read_rows

pytestmark = pytest.mark.django_db

BrowserOf = Callable[[User], Client]
FRAGMENT = {"HX-Request": "true", "HX-Target": "tasks"}


@pytest.fixture
def browser(browser_of: BrowserOf, owner: User) -> Client:
    return browser_of(owner)


def listed(browser: Client, query: str = "") -> list[int]:
    """Numbers of the tasks in the page, in its order."""
    answer = browser.get(f"/tasks/{query}")
    assert answer.status_code == 200
    return [int(number) for number in re.findall(r'id="tick-(\d+)"', answer.content.decode())]


def chips(browser: Client, query: str = "") -> dict[str, int]:
    text = browser.get(f"/tasks/{query}").content.decode()
    found = re.findall(r'id="chip-(\w+)".*?<span class="count">(\d+)', text)
    return {status: int(count) for status, count in found}


# --- Filters ---


def test_a_status_shows_its_tasks_alone(browser: Client, seeding: Seeding) -> None:
    failed = seeding.task(0, fate=TaskStatus.FAILED)
    seeding.task(1, fate=TaskStatus.COMPLETED)
    assert listed(browser, "?status=FAILED") == [failed]


def test_chips_count_what_passes_the_other_filters(browser: Client, seeding: Seeding) -> None:
    for index, fate in ((0, TaskStatus.DRAFT), (1, TaskStatus.DRAFT), (1, TaskStatus.PENDING)):
        seeding.task(index, fate=fate)
    counts = chips(browser, "?engine=vllm&status=PENDING")
    assert (counts["ALL"], counts["DRAFT"], counts["PENDING"]) == (2, 1, 1)
    assert counts["RUNNING"] == 0


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("?q=OFFLINE", "qwen"),
        ("?q=qwen/qwen2.5", "qwen"),
        ("?q=nightly", "llama"),
        ("?engine=sglang", "llama"),
        ("?mode=local", "smollm"),
        ("?q=l&mode=docker&engine=vllm", "qwen"),
        ("?owner=ada", None),
    ],
)
def test_each_filter_narrows(
    admin_client: Client, seeding: Seeding, query: str, wanted: str | None
) -> None:
    User.objects.create_user("ada")
    tasks = {name: seeding.task(i, fate=TaskStatus.DRAFT) for i, name in enumerate(NAMES)}
    Task.objects.filter(pk=tasks["llama"]).update(description="for the nightly report")
    # Somebody without tasks is no owner to choose, so that the last filter is ignored.
    assert listed(admin_client, query) == (
        [tasks[wanted]] if wanted else sorted(tasks.values(), reverse=True)
    )


NAMES = ("llama", "qwen", "smollm")


def test_a_number_finds_its_task(browser: Client, seeding: Seeding) -> None:
    first, second = (seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(2))
    Task.objects.filter(pk=second).update(name=f"more like #{first}")
    assert listed(browser, f"?q=%23{first}") == [first]
    assert listed(browser, "?q=%239999") == []
    assert first in listed(browser, f"?q={first}")


def test_owners_can_be_told_apart(admin_client: Client, seeding: Seeding, stranger: User) -> None:
    mine = seeding.task(0, fate=TaskStatus.DRAFT)
    theirs = Seeding(stranger).task(0, fate=TaskStatus.DRAFT)
    nobodys = Seeding(None).task(0, fate=TaskStatus.DRAFT)
    assert listed(admin_client, "?owner=owner") == [mine]
    assert listed(admin_client, "?owner=stranger") == [theirs]
    assert listed(admin_client, "?owner=~nobody") == [nobodys]


def test_both_days_of_a_span_belong_to_it(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(4)]
    for day, (task_id, hour) in enumerate(zip(ids, (23, 0, 23, 0), strict=True), start=1):
        moment = datetime(2024, 5, day, hour, 59 if hour else 0, 59 if hour else 0, tzinfo=UTC)
        Task.objects.filter(pk=task_id).update(created_at=moment)
    assert listed(browser, "?since=2024-05-02&until=2024-05-03") == [ids[2], ids[1]]


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ("?status=NONSENSE", "NONSENSE"),
        ("?engine=tgi&mode=moon", "moon"),
        ("?sort=-password", "-password"),
        ("?since=yesterday", "Created from"),
        ("?since=2024-02-30", "Created from"),
        ("?since=0001-01-01&until=9999-12-31", ""),
        ("?since=2024-06-02&until=2024-06-01", "No day is both"),
        (f"?q={'9' * 200}", ""),
        ("?q=%23" + "9" * 199, ""),
        (f"?q={'x' * 201}", "Search"),
        ("?q=%00", "Search"),
        ("?page=0", ""),
        ("?page=-1&status=", ""),
        ("?page=" + "9" * 5000, ""),
        ("?page=last&page=2&unknown=1", ""),
    ],
)
def test_an_address_that_makes_no_sense_is_explained_and_never_an_error(
    browser: Client, seeding: Seeding, query: str, note: str
) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    answer = browser.get(f"/tasks/{query}")
    assert answer.status_code == 200
    text = answer.content.decode()
    assert ("makes no sense" in text) == bool(note)
    assert note in text


# --- Order and pages ---


def test_the_newest_comes_first(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(3)]
    assert listed(browser) == ids[::-1]
    assert listed(browser, "?sort=id") == ids


def test_names_are_sorted_as_people_do(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(3)]
    for task_id, name in zip(ids, ("beta", "Alpha", "Gamma"), strict=True):
        Task.objects.filter(pk=task_id).update(name=name)
    assert listed(browser, "?sort=name") == [ids[1], ids[0], ids[2]]


def test_statuses_are_sorted_by_how_much_they_ask_for(browser: Client, seeding: Seeding) -> None:
    done, running, draft = (
        seeding.task(0, fate=fate)
        for fate in (TaskStatus.COMPLETED, TaskStatus.RUNNING, TaskStatus.DRAFT)
    )
    assert listed(browser, "?sort=status") == [running, draft, done]


@pytest.mark.parametrize("sort", ["gain", "-gain"])
def test_gain_is_sorted_as_it_is_shown(browser: Client, seeding: Seeding, sort: str) -> None:
    """Minimised and maximised, ended and running: the database sorts by what Python computes."""
    fates = (TaskStatus.COMPLETED, TaskStatus.RUNNING)
    ids = [seeding.task(index, fate=fate) for index in range(3) for fate in fates]
    without = seeding.task(0, fate=TaskStatus.DRAFT)
    gains = {row.task.pk: row.gain_over_baseline for row in read_rows(ids)}
    assert None not in gains.values()
    expected = sorted(ids, key=lambda one: gains[one] or 0, reverse=sort.startswith("-"))
    assert listed(browser, f"?sort={sort}") == [*expected, without]


def test_duration_of_a_running_task_counts_until_now(browser: Client, seeding: Seeding) -> None:
    ended = seeding.task(0, age=200, fate=TaskStatus.COMPLETED)
    running = seeding.task(0, fate=TaskStatus.RUNNING)
    long_ago = timezone.now() - timedelta(hours=100)
    Task.objects.filter(pk=running).update(started_at=long_ago)
    waiting = seeding.task(0, fate=TaskStatus.PENDING)
    assert listed(browser, "?sort=-duration") == [running, ended, waiting]
    assert listed(browser, "?sort=duration") == [ended, running, waiting]


@pytest.mark.parametrize(
    "sort", ["id", "-name", "-engine", "engine", "-status", "owner", "-owner", "created"]
)
def test_every_order_has_all_tasks(admin_client: Client, seeding: Seeding, sort: str) -> None:
    ids = {seeding.task(index, fate=TaskStatus.DRAFT) for index in range(3)}
    assert set(listed(admin_client, f"?sort={sort}")) == ids


def test_a_heading_turns_the_order_round(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    text = browser.get("/tasks/?sort=-gain&q=llama").content.decode()
    assert 'aria-sort="descending"' in text
    assert 'href="/tasks/?q=llama&amp;sort=gain"' in text


def test_pages_keep_the_filters(browser: Client, seeding: Seeding) -> None:
    ids = [seeding.task(0, fate=TaskStatus.DRAFT) for _ in range(27)]
    seeding.task(1, fate=TaskStatus.DRAFT)
    first = browser.get("/tasks/?engine=sglang").content.decode()
    assert 'href="/tasks/?engine=sglang&amp;page=2"' in first
    assert listed(browser, "?engine=sglang") == ids[:1:-1]
    assert listed(browser, "?engine=sglang&page=2") == [ids[1], ids[0]]
    assert listed(browser, "?engine=sglang&page=77") == [ids[1], ids[0]]


# --- What a row shows ---


@pytest.mark.parametrize("fate", [TaskStatus.COMPLETED, TaskStatus.RUNNING, TaskStatus.CANCELLED])
@pytest.mark.parametrize("index", range(3))
def test_a_row_says_the_same_as_the_task_page(
    seeding: Seeding, index: int, fate: TaskStatus
) -> None:
    task = Task.objects.get(pk=seeding.task(index, experiments=12, fate=fate))
    (row,) = read_rows([task.pk])
    progress = read_progress(task, task.parsed_spec())
    assert (row.finished, row.total) == (progress.finished, progress.total)
    assert row.best == progress.best
    assert row.gain_over_baseline == progress.gain_over_baseline
    assert row.objective == progress.spec.objective
    assert row.mean_experiment_s == pytest.approx(progress.mean_experiment_s)


def test_a_soft_limit_decides_the_best_so_far(seeding: Seeding) -> None:
    """By score, which has the penalties, and not by the bare value."""
    task_id = seeding.task(0, fate=TaskStatus.RUNNING)
    good = Experiment.objects.filter(task=task_id, status=ExperimentStatus.SUCCESS.value)
    first, second = good[:2]
    good.filter(pk=first.pk).update(objective_value=0.001, score=9.0)
    good.filter(pk=second.pk).update(objective_value=0.002, score=0.002)
    (row,) = read_rows([task_id])
    assert row.best == second


def test_rows_show_progress_result_and_links(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(1, experiments=4, fate=TaskStatus.RUNNING)
    (row,) = read_rows([task_id])
    assert row.best is not None
    text = browser.get("/tasks/").content.decode()
    assert f'<progress max="{row.total}" value="{row.finished}"' in text
    assert f'href="/experiments/{row.best.pk}/"' in text
    assert f'href="/tasks/{task_id}/"' in text
    assert f'formaction="/tasks/{task_id}/duplicate/"' in text
    assert "Qwen/Qwen2.5-7B-Instruct" in text
    assert "badge-RUNNING" in text


def test_names_are_escaped(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    Task.objects.filter(pk=task_id).update(name="<script>alert(1)</script>")
    assert "<script>alert(1)" not in browser.get("/tasks/").content.decode()


def test_many_tasks_take_few_queries(
    admin_client: Client,
    seeding: Seeding,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for index in range(30):
        seeding.task(index, experiments=3)
    for query in ("", "?sort=-gain&page=2", "?q=l&engine=vllm&status=COMPLETED"):
        with django_assert_max_num_queries(15):
            assert admin_client.get(f"/tasks/{query}").status_code == 200


# --- Rights ---


def test_a_stranger_sees_nothing_of_others(
    browser_of: BrowserOf, seeding: Seeding, stranger: User
) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    browser = browser_of(stranger)
    assert listed(browser) == []
    assert chips(browser)["ALL"] == 0
    text = browser.get("/tasks/?owner=owner").content.decode()
    assert "owner" not in re.sub(r"filter-\w+", "", text.split("<main")[1])


def test_who_may_view_all_may_filter_by_owner(
    browser_of: BrowserOf, seeding: Seeding, stranger: User
) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    stranger.user_permissions.add(Permission.objects.get(codename="view_task"))
    assert listed(browser_of(stranger), "?owner=owner") == [task_id]


def test_visitors_are_asked_to_sign_in(client: Client) -> None:
    assert client.get("/tasks/").status_code == 302
    assert client.post("/tasks/bulk/delete/").status_code == 302


# --- Fragments ---


def test_htmx_gets_the_list_alone(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    answer = browser.get("/tasks/?q=llama&engine=&page=1", headers=FRAGMENT)
    text = answer.content.decode()
    assert "<html" not in text
    assert 'id="filter-q"' not in text
    assert text.strip().startswith('<div id="tasks"')


def test_the_address_bar_gets_a_short_address_to_share(browser: Client) -> None:
    answer = browser.get("/tasks/?q=llama&engine=&page=1", headers=FRAGMENT)
    assert answer["HX-Push-Url"] == "/tasks/?q=llama"


def test_news_leave_the_history_alone(browser: Client) -> None:
    """Or the Back button would lead through every refresh."""
    headers = {**FRAGMENT, "HX-Current-URL": "http://testserver/tasks/?q=llama"}
    answer = browser.get("/tasks/?q=llama&engine=&page=1", headers=headers)
    assert "HX-Push-Url" not in answer


def test_who_has_no_task_is_invited(browser: Client) -> None:
    text = browser.get("/tasks/").content.decode()
    assert "No tasks yet" in text
    assert 'href="/tasks/import/"' in text


def test_filters_without_a_match_can_be_cleared(browser: Client, seeding: Seeding) -> None:
    seeding.task(0, fate=TaskStatus.DRAFT)
    text = browser.get("/tasks/?q=nothing-like-it").content.decode()
    assert "Clear the filters" in text
    assert "No tasks yet" not in text


# --- Several at once ---


def act(browser: Client, action: str, *ids: int | str, **fields: str) -> str:
    answer = browser.post(f"/tasks/bulk/{action}/", {"task": list(ids), **fields})
    assert answer.status_code == 200
    return answer.content.decode()


def test_cancel_reports_each_task(
    browser_of: BrowserOf, owner: User, stranger: User, seeding: Seeding
) -> None:
    waiting = seeding.task(0, fate=TaskStatus.PENDING)
    ended = seeding.task(1, fate=TaskStatus.COMPLETED)
    others = Seeding(stranger).task(0, fate=TaskStatus.PENDING)
    text = act(browser_of(owner), "cancel", waiting, ended, others, 987654)
    assert f"Task {waiting} is being cancelled" in text
    assert f"Task {ended} is COMPLETED" in text
    assert f"There is no task {others}, or it belongs to somebody else." in text
    assert "There is no task 987654" in text
    asked = set(Task.objects.filter(cancel_requested_at__isnull=False).values_list("pk", flat=True))
    assert asked == {waiting}


def test_who_may_only_look_is_refused(
    browser_of: BrowserOf, stranger: User, seeding: Seeding
) -> None:
    task_id = seeding.task(0, fate=TaskStatus.PENDING)
    stranger.user_permissions.add(Permission.objects.get(codename="view_task"))
    text = act(browser_of(stranger), "cancel", task_id)
    assert f"Task {task_id} belongs to somebody else: you may only look at it." in text
    assert Task.objects.get(pk=task_id).cancel_requested_at is None


def test_delete_asks_first_and_says_what_would_stay(browser: Client, seeding: Seeding) -> None:
    ended = seeding.task(0, fate=TaskStatus.FAILED)
    running = seeding.task(1, fate=TaskStatus.RUNNING)
    text = act(browser, "delete", ended, running)
    dialog = text.split('<dialog id="confirm-delete"')[1]
    assert "Delete 1 task?" in dialog
    assert f'name="task" value="{ended}"' in dialog
    assert f"Task {running} is RUNNING: cancel it first." in dialog
    assert f'name="task" value="{running}"' not in dialog
    assert Task.objects.count() == 2


def test_a_confirmed_delete_deletes_what_it_may(browser: Client, seeding: Seeding) -> None:
    ended = seeding.task(0, fate=TaskStatus.FAILED)
    draft = seeding.task(0, fate=TaskStatus.DRAFT)
    running = seeding.task(1, fate=TaskStatus.RUNNING)
    text = act(browser, "delete", ended, draft, running, confirmed="yes")
    assert f"Task {ended} is deleted" in text
    assert f"Task {running} is RUNNING: cancel it first." in text
    assert [task.pk for task in Task.objects.all()] == [running]


def test_the_question_is_a_fragment_of_its_own(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    headers = {"HX-Request": "true", "HX-Target": "confirm-delete"}
    answer = browser.post("/tasks/bulk/delete/", {"task": task_id}, headers=headers)
    assert answer.content.decode().strip().startswith('<dialog id="confirm-delete"')


def test_a_report_keeps_the_filters_and_unticks(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.PENDING)
    seeding.task(1, fate=TaskStatus.PENDING)
    answer = browser.post(
        "/tasks/bulk/cancel/", {"task": task_id, "query": "engine=sglang"}, headers=FRAGMENT
    )
    text = answer.content.decode()
    assert re.findall(r'id="tick-(\d+)"', text) == [str(task_id)]
    assert "hx-preserve" not in text
    assert "hx-preserve" in browser.get("/tasks/").content.decode()


@pytest.mark.parametrize("action", ["cancel", "delete", "compare"])
@pytest.mark.parametrize("ids", [[], ["x"], ["-1"], ["9" * 5000], [""]])
def test_nothing_ticked_is_no_error(browser: Client, action: str, ids: list[str]) -> None:
    assert "Refused" in act(browser, action, *ids)


@pytest.mark.parametrize("count", [1, 7])
def test_too_few_or_too_many_to_compare(browser: Client, count: int) -> None:
    text = act(browser, "compare", *range(1, count + 1))
    assert f"Tick 2 to 6 tasks to compare them; you ticked {count}." in text


def test_compare_leads_to_its_page(browser: Client) -> None:
    data = {"task": ["3", "1", "3"]}
    answer = browser.post("/tasks/bulk/compare/", data)
    assert answer["Location"] == "/compare/?task=3&task=1"
    answer = browser.post("/tasks/bulk/compare/", data, headers=FRAGMENT)
    assert answer["HX-Redirect"] == "/compare/?task=3&task=1"


def test_only_what_is_offered_can_be_done(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.DRAFT)
    assert browser.post("/tasks/bulk/start/", {"task": task_id}).status_code == 404
    assert browser.get("/tasks/bulk/cancel/").status_code == 405
    assert Task.objects.get(pk=task_id).state is TaskStatus.DRAFT


def test_a_cancelled_task_says_so_until_it_ends(browser: Client, seeding: Seeding) -> None:
    task_id = seeding.task(0, fate=TaskStatus.RUNNING)
    act(browser, "cancel", task_id)
    row = browser.get("/tasks/").content.decode().split('id="task-rows"')[1]
    assert ">cancelling<" in row
    ended = seeding.task(1, fate=TaskStatus.COMPLETED)
    finished = datetime.now(UTC) - timedelta(hours=1)
    Task.objects.filter(pk=ended).update(cancel_requested_at=finished)
    assert browser.get("/tasks/?status=COMPLETED").content.decode().count(">cancelling<") == 0
