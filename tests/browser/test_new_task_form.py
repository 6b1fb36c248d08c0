"""The editor of a task in a browser: what comes and goes with what is chosen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow


def objective_rows(page: Page) -> int:
    return page.locator(".row-objective:visible").count()


def test_up_to_four_objectives_each_with_its_own_metric(page: Page) -> None:
    page.goto("/tasks/new/?preset=local_llamacpp_cpu")
    preview = page.locator("#preview")
    expect(preview).to_contain_text("launches to verify the winner")
    names, metrics = (
        page.locator("[name=objectives-name]"),
        page.locator("[name=objectives-metric]"),
    )
    expect(metrics.first).to_be_hidden()

    names.first.select_option("metric")
    metrics.first.select_option("ttft_p99_s")
    expect(preview).to_contain_text("direction")
    page.locator("[name=objectives-direction]").first.select_option("minimize")
    expect(preview).to_contain_text("launches to verify the winner")

    more = page.get_by_role("button", name="Add an objective")
    for _ in range(3):
        more.click()
    expect(more).to_be_hidden()
    assert objective_rows(page) == 4

    names.nth(1).select_option("maximize_goodput")
    expect(page.locator("#error-optimization-objective")).to_contain_text("goodput")
    names.nth(1).select_option("maximize_throughput")
    expect(page.locator("#error-optimization-objective")).to_be_hidden()

    page.locator(".row-objective").nth(1).get_by_role(
        "button", name="Remove this objective"
    ).click()
    expect(more).to_be_visible()
    assert objective_rows(page) == 3


def test_two_objectives_come_back_from_json(page: Page) -> None:
    page.goto("/tasks/new/?preset=local_llamacpp_cpu")
    page.get_by_role("button", name="Add an objective").click()
    page.locator("[name=objectives-name]").nth(1).select_option("minimize_ttft")
    page.get_by_role("button", name="JSON", exact=True).click()
    expect(page.locator("#field-document")).to_contain_text('"minimize_ttft"]')
    page.get_by_role("button", name="Form", exact=True).click()
    expect(page.locator("[name=objectives-name]").nth(1)).to_have_value("minimize_ttft")


def test_a_problem_of_all_objectives_is_reached_from_the_preview(page: Page) -> None:
    page.goto("/tasks/new/?preset=local_llamacpp_cpu")
    page.get_by_role("button", name="Add an objective").click()
    for row, name in enumerate(("maximize_goodput", "minimize_ttft")):
        page.locator("[name=objectives-name]").nth(row).select_option(name)
    page.locator("#preview a[href='#field-optimization-objective']").first.click()
    expect(page.locator("#field-optimization-objective")).to_be_focused()


def test_fields_of_the_cluster_and_of_earlier_tasks_come_when_they_matter(page: Page) -> None:
    page.goto("/tasks/new/?preset=local_llamacpp_cpu")
    cluster, tasks = page.get_by_label("Serving runtime"), page.get_by_label("These tasks")
    expect(page.get_by_role("heading", name="In the cluster")).to_be_hidden()
    expect(cluster).to_be_hidden()
    expect(tasks).to_be_hidden()

    page.get_by_label("Deployment mode").select_option("ome")
    expect(page.get_by_role("heading", name="In the cluster")).to_be_visible()
    expect(cluster).to_be_visible()
    page.get_by_label("Measuring").select_option("benchmark_job")
    expect(page.locator("#error-ome-results_storage")).to_contain_text("must be given")

    page.get_by_label("Start from earlier tasks").select_option("named")
    expect(tasks).to_be_visible()
    expect(page.locator("#error-optimization-warm_start-tasks")).not_to_be_empty()
