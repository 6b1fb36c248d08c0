"""The whole journey in a real browser, against `manage.py serve`'s own processes and a real engine.

Nothing here touches Django's database in this process (see conftest).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import DESKTOP, PHONE, Complaints
from tests.serving.conftest import Place, installation, place
from tuning.domain.spec import parse_task

__all__ = ["installation", "place"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

PASSWORD = "correct-horse-battery"
EXPERIMENT_MS = 90_000
"""How long one experiment may take on a busy machine."""


@pytest.fixture
def served(place: Place) -> Iterator[tuple[Place, str]]:
    """The product as a new user starts it; the address of the page for the first user."""
    serving = place.serve()
    link = serving.wait_for_text(r"(http://\S+/first-user/\S+)")[1]
    yield place, link
    assert "Traceback" not in serving.output, serving.output


@pytest.fixture
def visitor(chromium: Browser, served: tuple[Place, str]) -> Iterator[Page]:
    place, _ = served
    complaints = Complaints(urlsplit(place.url).netloc)
    context = chromium.new_context(
        viewport=DESKTOP,  # type: ignore[arg-type]
        base_url=place.url,
        accept_downloads=True,
    )
    page = context.new_page()
    complaints.watch(page)
    yield page
    context.close()
    assert complaints.unexpected() == []


def become_the_first_user(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Create and sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def sign_out_and_in(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def set_flag(page: Page, number: int, name: str, values: str) -> None:
    """Fill the row of a parameter, adding it when it is not there yet."""
    names = page.locator("[name=parameters-name]")
    while names.count() <= number:
        page.get_by_role("button", name="Add a flag").click()
        page.wait_for_timeout(100)
    names.nth(number).fill(name)
    page.locator("[name=parameters-values]").nth(number).fill(values)


def make_a_task_in_the_form(page: Page) -> int:
    """A small task for the sample model; its number."""
    page.get_by_role("link", name="New task").first.click()
    page.get_by_label("Name", exact=True).fill("journey")
    page.get_by_label("Model", exact=True).fill("SmolLM2-135M-Instruct.Q4_1.gguf")
    set_flag(page, 0, "threads", "zwei")
    set_flag(page, 1, "parallel", "1, 2")
    set_flag(page, 2, "ctx-size", "1024")
    page.locator("[name=objectives-name]").select_option("maximize_throughput")
    scenario = page.get_by_label("Scenario").first
    scenario.fill("D(16,")
    preview = page.locator("#preview")
    # A mistake is told beside the field while one types.
    expect(page.locator(".field-error", has_text=re.compile("scenario", re.I))).to_be_visible()
    scenario.fill("D(16,8)")
    set_flag(page, 0, "threads", "1")
    page.get_by_label("Concurrencies").fill("2")
    page.get_by_label("Requests per load point").fill("4")
    page.get_by_label("Warm-up requests").fill("1")
    # Whether anything is launched again depends on what wins.
    page.get_by_label("Verify the winner (rounds)").fill("0")
    expect(preview).to_contain_text("--parallel 2")
    expect(preview).to_contain_text("3")
    page.get_by_role("button", name="JSON").click()
    text = page.get_by_label("Task file (JSON)").input_value()
    assert parse_task(text).space().tuned == ("parallel",)
    page.get_by_role("button", name="Form").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("journey")
    page.get_by_role("button", name="Save and start").click()
    page.wait_for_url(re.compile(r"/tasks/\d+/$"))
    return int(urlsplit(page.url).path.split("/")[2])


def read_its_log_while_it_comes(page: Page) -> None:
    page.get_by_role("button", name="Log", exact=True).click()
    log = page.locator("log-view")
    expect(log).to_contain_text("deploying with", timeout=EXPERIMENT_MS)
    expect(log).to_contain_text("engine healthy after", timeout=EXPERIMENT_MS)
    expect(log).to_contain_text("measured D(16,8) at concurrency 2", timeout=EXPERIMENT_MS)
    page.go_back()


def watch_it_end(page: Page) -> None:
    """Without a reload: the page changes by itself."""
    page.evaluate("window.same_page = true")
    expect(page.locator("#head")).to_contain_text("Completed", timeout=3 * EXPERIMENT_MS)
    expect(page.locator("#head")).to_contain_text("3 of 3 experiments")
    assert page.evaluate("window.same_page") is True


def export_the_winner(page: Page, task_id: int) -> None:
    winner = page.locator("#winner")
    expect(winner).to_contain_text("docker run")
    expect(winner.locator("pre").first).to_contain_text("--ctx-size 1024")
    with page.expect_download() as downloading:
        page.locator(f'a[href="/tasks/{task_id}/export/inference-service/"]').evaluate(
            "link => link.click()"
        )
    text = Path(downloading.value.path()).read_text()
    kinds = [document["kind"] for document in yaml.safe_load_all(text)]
    assert "InferenceService" in kinds
    with page.expect_download() as downloading:
        page.locator(f'a[href="/tasks/{task_id}/export/csv/"]').evaluate("link => link.click()")
    rows = Path(downloading.value.path()).read_text().splitlines()
    assert len(rows) == 1 + 3
    assert "parameters.parallel" in rows[0]


def see_its_charts(page: Page) -> None:
    charts = page.locator("#charts chart-view")
    expect(charts.first.locator("canvas")).to_be_visible()
    assert charts.count() >= 4


def duplicate_start_and_cancel(page: Page) -> int:
    page.get_by_role("button", name="Duplicate").click()
    page.wait_for_url(re.compile(r"/tasks/\d+/edit/$"))
    task_id = int(urlsplit(page.url).path.split("/")[2])
    page.get_by_role("button", name="Save and start").click()
    page.wait_for_url(re.compile(r"/tasks/\d+/$"))
    head = page.locator("#head")
    expect(head).to_contain_text("The baseline is", timeout=EXPERIMENT_MS)
    page.locator("#ask-cancel").click()
    page.get_by_role("dialog").locator("button.danger").click()
    expect(head).to_contain_text("Cancelled", timeout=EXPERIMENT_MS)
    return task_id


def compare(page: Page, one: int, other: int) -> None:
    page.goto("/tasks/")
    for task_id in (one, other):
        page.locator(f'input[type=checkbox][value="{task_id}"]').check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(re.compile(r"/compare/\?"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Compare")
    expect(page.locator("main")).to_contain_text("journey (copy)")


def test_from_the_first_user_to_the_winner(served: tuple[Place, str], visitor: Page) -> None:
    _, link = served
    become_the_first_user(visitor, link)
    sign_out_and_in(visitor)
    task_id = make_a_task_in_the_form(visitor)
    read_its_log_while_it_comes(visitor)
    watch_it_end(visitor)
    export_the_winner(visitor, task_id)
    see_its_charts(visitor)
    other = duplicate_start_and_cancel(visitor)
    compare(visitor, task_id, other)
    visitor.set_viewport_size(PHONE)  # type: ignore[arg-type]
    visitor.goto(f"/tasks/{task_id}/")
    visitor.wait_for_timeout(500)
    assert visitor.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
