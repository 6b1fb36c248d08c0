"""Experiments that were not measured to their end, as pages tell of them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.seeded_showcase import Showcase
from tests.seeding import Seeding
from tests.web.task_pages import page_of, row_of
from tuning import formatting
from tuning.domain.metrics import ALL_METRIC_NAMES
from tuning.models import Experiment, Task

pytestmark = pytest.mark.django_db

NO_BREAK = "\N{NO-BREAK SPACE}"


@pytest.fixture
def browser(owner: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(owner)


@pytest.fixture
def task(seeding: Seeding) -> Task:
    """With experiments that were pruned, some that broke a limit, and further launches."""
    return Task.objects.get(pk=Showcase(seeding).better())


def text_of(browser: Client, experiment: Experiment) -> str:
    page = browser.get(f"/experiments/{experiment.pk}/").content.decode()
    return html.unescape(re.sub(r"<[^>]+>", "", page)).replace(NO_BREAK, " ")


def section_of(browser: Client, experiment: Experiment) -> str:
    page = browser.get(f"/experiments/{experiment.pk}/").content.decode()
    sections: list[str] = re.findall(
        r'<section[^>]*"early-end-title">.*?</section>', page, re.DOTALL
    )
    (section,) = sections
    return html.unescape(section).replace(NO_BREAK, " ")


def test_a_pruned_one_says_whom_it_would_have_had_to_beat(browser: Client, task: Task) -> None:
    pruned = task.experiments.filter(status="PRUNED").first()
    assert pruned is not None
    numbers = pruned.early_end["numbers"]
    rival = task.experiments.get(number=numbers["best_experiment"])
    section = section_of(browser, pruned)

    measured = f"After {numbers['loads_measured']} of {numbers['loads']} loads"
    bound = formatting.metric("e2e_latency_mean_s", numbers["score_bound"])
    assert f"{measured} its E2E latency mean can be expected to be {bound} at best." in section
    assert f'href="/experiments/{rival.pk}/">Experiment {rival.number}</a>' in section
    assert f"has {formatting.metric('e2e_latency_mean_s', rival.score)}." in section
    assert f"is at most {numbers['chance'] * 100:.2g} %" in section
    assert not [name for name in ALL_METRIC_NAMES if name in section]


def test_what_was_left_out_is_told_by_scenario(browser: Client, task: Task) -> None:
    pruned = task.experiments.filter(status="PRUNED").first()
    assert pruned is not None
    pruned.early_end["skipped"] = [
        {"scenario": "D(512,128)", "concurrency": 1},
        {"scenario": "N(480,240)/(300,150)", "concurrency": 1},
        {"scenario": "D(512,128)", "concurrency": 4},
        {"scenario": "D(512,128)", "concurrency": 16},
    ]
    pruned.save()

    section = section_of(browser, pruned)
    assert "Not measured: D(512,128) at concurrency 1, 4 and 16; " in section
    assert "16; N(480,240)/(300,150) at concurrency 1." in section


def test_a_broken_limit_is_told_once_and_by_its_label(browser: Client, task: Task) -> None:
    broken = next(
        one
        for one in task.experiments.filter(failure_kind="slo_violated", original=None)
        if one.early_end
    )
    text = text_of(browser, broken)

    assert "Stopped at a broken limit" in text
    assert "SLO violated" in text
    assert len(re.findall("TTFT p99 was", text)) == 1
    assert "It has no value, since it was stopped early." in text


def test_a_rival_that_is_gone_leaves_the_reason_of_the_log(browser: Client, task: Task) -> None:
    pruned = task.experiments.filter(status="PRUNED").first()
    assert pruned is not None
    pruned.early_end["numbers"]["best_experiment"] = 999
    pruned.save()

    assert "E2E latency mean can be expected to be at least" in section_of(browser, pruned)


def test_loads_that_would_change_nothing(browser: Client, seeding: Seeding) -> None:
    task = Task.objects.get(pk=Showcase(seeding).no_difference())
    saving = next(one for one in task.experiments.all() if one.early_end)
    section = section_of(browser, saving)

    assert "Not every load was needed" in section
    assert "output throughput would stay the same" in section


def test_a_pruned_search_for_goodput(browser: Client, seeding: Seeding) -> None:
    task = Task.objects.get(pk=Showcase(seeding).goodput())
    pruned = task.experiments.filter(status="PRUNED").first()
    assert pruned is not None
    section = section_of(browser, pruned)

    assert re.search(r"After \d+ loads? its goodput can be expected to be", section)
    assert "The chance" not in section


def test_rows_say_why_and_which_launch_they_are(browser: Client, task: Task) -> None:
    page = page_of(browser, task.pk).replace(NO_BREAK, " ")
    pruned = task.experiments.filter(status="PRUNED").first()
    verifying = task.experiments.filter(purpose="verification", original__number=0).first()
    assert pruned is not None
    assert verifying is not None

    assert "hardly the best" in row_of(page, pruned.number)
    row = row_of(page, verifying.number)
    assert "verification of baseline, round 1" in row
    assert row.count(">default<") == len(task.parsed_spec().space().tuned)
    assert 'class="is-again"' in row


def test_metrics_of_fewer_loads_are_marked(browser: Client, task: Task, seeding: Seeding) -> None:
    page = page_of(browser, task.pk)
    pruned = task.experiments.filter(status="PRUNED").first()
    assert pruned is not None
    assert task.best_experiment is not None

    assert "tokens/s*</td>" in row_of(page, pruned.number)
    assert "*</td>" not in row_of(page, task.best_experiment.number)
    assert page.count("* Of fewer loads than others") == 1
    whole = page_of(browser, Showcase(seeding).unstable())
    assert "* Of fewer loads than others" not in whole


def test_the_front_is_of_those_that_were_measured_at_every_load(
    browser: Client, seeding: Seeding
) -> None:
    saving = Showcase(seeding).no_difference()
    page = browser.get(f"/tasks/{saving}/charts/").content.decode()
    card = page.split('id="pareto-card"')[1].split("</section>")[0]

    in_part = Task.objects.get(pk=saving).experiments.exclude(early_end={}).count()
    assert in_part
    assert f"{in_part} experiments left out" in card
    assert "not to be compared with others" in page_of(browser, saving)


def test_each_measurement_says_whether_the_cache_was_emptied(browser: Client, task: Task) -> None:
    best = task.best_experiment
    assert best is not None
    kept = best.measurements.filter(cache_flush="not").count()
    emptied = best.measurements.filter(cache_flush="whole").count()
    page = browser.get(f"/experiments/{best.pk}/").content.decode()

    assert (page.count('<span class="warn">no</span>'), page.count("<td>yes</td>")) == (
        kept,
        emptied,
    )


def test_the_median_of_repeats_counts_as_the_worst_of_them(browser: Client, task: Task) -> None:
    best = task.best_experiment
    assert best is not None
    point = best.measurements.filter(cache_flush="whole").first()
    assert point is not None
    point.pk, point.repeat, point.cache_flush = None, 1, "partly"
    point.save(force_insert=True)
    page = browser.get(f"/experiments/{best.pk}/").content.decode()

    # Of the repeat itself, and of the median.
    assert page.count('<span class="warn">in part</span>') == 2


def test_a_comparison_leaves_out_metrics_of_fewer_loads(
    browser: Client, seeding: Seeding, task: Task
) -> None:
    saving = Showcase(seeding).no_difference()
    page = browser.get(f"/compare/?task={task.pk}&task={saving}").content.decode()
    (line,) = re.findall(r'<tr[^>]*><th scope="row">TTFT p50</th>.*?</tr>', page, re.DOTALL)
    cells = re.findall(r'<span class="nowrap">(.*?)</span>', line)

    assert cells[0].endswith(" ms")
    assert cells[1] == "-"
