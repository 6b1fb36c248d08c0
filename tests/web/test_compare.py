"""Tasks and experiments side by side."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.seeding import Seeding
from tests.web.test_charts import data_of
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.spec import parse_task
from tuning.models import Task
from tuning.orchestrator.control import submit
from tuning.web.compare.selection import Kind, read_selection
from tuning.web.compare.side_by_side import (
    Cell,
    flattened,
    metric_line,
    parameter_lines,
    spec_lines,
    warnings,
)

Browser = Callable[[User], Client]


@pytest.fixture
def browser(owner: User, browser_of: Browser) -> Client:
    return browser_of(owner)


def page_of(client: Client, query: str, status: int = 200) -> str:
    response = client.get(f"/compare/{query}")
    assert response.status_code == status
    return response.content.decode()


def table_under(html: str, heading: str) -> dict[str, list[str]]:
    """The cells of each line by its label, of the table that this element's id labels."""
    body = html.partition(f'aria-labelledby="{heading}">\n  <table')[2].partition("</table>")[0]
    lines = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', body, re.DOTALL)
    return {
        label: [
            " ".join(re.sub("<[^>]*>", "", cell).split())
            for cell in re.findall(r"<td>(.*?)</td>", cells)
        ]
        for label, cells in lines
    }


class TestSelection:
    def test_numbers_are_taken_once_and_in_their_order(self) -> None:
        selection = read_selection(QueryDict("task=9&task=3&task=9"))

        assert (selection.kind, selection.ids, selection.problem) == (Kind.TASK, (9, 3), "")

    @pytest.mark.parametrize(
        ("query", "problem", "is_wrong"),
        [
            ("", "Choose 2 to 6 tasks.", False),
            ("task=4", "Choose at least one more task", False),
            ("experiment=4", "Choose at least one more experiment", False),
            ("task=1&task=x", "is no number of a task", True),
            ("experiment=1&experiment=-2", "is no number of an experiment", True),
            ("task=&task=2", "is no number", True),
            ("task=1&task=٣", "is no number", True),
            (f"task=1&task={10**18}", "is no number", True),
            ("&".join(f"task={n}" for n in range(1, 8)), "At most 6 tasks", True),
            ("task=1&experiment=2", "not both", True),
        ],
    )
    def test_what_cannot_be_compared_is_told(
        self, query: str, problem: str, is_wrong: bool
    ) -> None:
        selection = read_selection(QueryDict(query))

        assert problem in selection.problem
        assert selection.is_wrong is is_wrong

    def test_addresses_with_one_more_and_one_less(self) -> None:
        selection = read_selection(QueryDict("experiment=4&experiment=7"))

        assert selection.without(4) == "?experiment=7"
        assert selection.with_another(9) == "?experiment=4&experiment=7&experiment=9"


class TestSideBySide:
    def test_a_document_becomes_dotted_paths(self) -> None:
        document = {
            "model": {"id_or_path": "x", "deep": {"er": None}},
            "constraints": [],
            "benchmark": {"num_concurrency": [1, 4], "ignore": True},
        }

        assert flattened(document) == {
            "model.id_or_path": "x",
            "model.deep.er": "-",
            "constraints": "-",
            "benchmark.num_concurrency": "1, 4",
            "benchmark.ignore": "on",
        }

    def test_only_what_differs_between_task_files(self, task_document: dict[str, Any]) -> None:
        first = parse_task({**task_document, "slo": {"ttft_p99_s": 0.5}})
        second = parse_task(
            {
                **task_document,
                "task_name": "another",
                "model": {"id_or_path": "b.gguf"},
                "parameters": {"threads": {"type": "int", "low": 1, "high": 8}, "parallel": [1, 4]},
                "slo": {"ttft": {"p99": {"max": 0.5, "hard": False}}},
            }
        )

        differing = [line for line in spec_lines([first, second]) if line.differs]

        assert {line.label: [cell.text for cell in line.cells] for line in differing} == {
            "model.id_or_path": ["SmolLM2-135M-Instruct.Q4_1.gguf", "b.gguf"],
            "parameters.threads": ["1, 2", "1 to 8"],
            "parameters.ctx-size": ["2048", "-"],
            "slo.ttft_p99_s": ["at most 0.5 s", "at most 0.5 s, soft"],
        }

    def test_a_metric_has_its_ratio_to_the_first_and_says_which_is_better(self) -> None:
        latency = metric_line("ttft_p99_s", [0.2, 0.1, 0.2, None, 0.5])
        throughput = metric_line("output_throughput_tokens_per_s", [100.0, 200.0])

        assert latency.cells == (
            Cell("200 ms"),
            Cell("100 ms", "0.5 ×", "good"),
            Cell("200 ms", "1 ×"),
            Cell("-"),
            Cell("500 ms", "2.5 ×", "bad"),
        )
        assert throughput.cells[1] == Cell("200 tokens/s", "2 ×", "good")

    @pytest.mark.parametrize("first", [None, 0.0])
    def test_without_a_first_value_there_is_no_ratio(self, first: float | None) -> None:
        assert metric_line("ttft_p99_s", [first, 0.1]).cells[1] == Cell("100 ms")

    def test_flags_that_only_one_sets(self) -> None:
        lines = parameter_lines([{"a": 1, "same": "x"}, {"b": True, "same": "x"}])

        assert [(line.label, line.differs) for line in lines] == [
            ("a", True),
            ("same", False),
            ("b", True),
        ]
        assert [cell.text for cell in lines[2].cells] == ["-", "on"]

    @pytest.mark.parametrize(
        ("section", "warning"),
        [
            ({"model": {"id_or_path": "b.gguf"}}, "The models differ"),
            ({"optimization": {"objective": "minimize_ttft"}}, "The objectives differ"),
            ({"benchmark": {"num_concurrency": [8]}}, "The traffic differs"),
        ],
    )
    def test_numbers_that_are_not_comparable_are_warned_of(
        self, section: dict[str, Any], warning: str, task_document: dict[str, Any]
    ) -> None:
        same = parse_task(task_document)
        other = parse_task(task_document | section | {"task_name": "other"})
        if "benchmark" in section:
            other = parse_task(
                task_document | {"benchmark": task_document["benchmark"] | section["benchmark"]}
            )

        assert warnings([same, same]) == []
        assert any(text.startswith(warning) for text in warnings([same, other]))


@pytest.mark.django_db
class TestTasks:
    def test_results_of_each_stand_side_by_side(self, browser: Client, seeding: Seeding) -> None:
        ids = [seeding.task(fate=TaskStatus.COMPLETED, experiments=6) for _ in range(2)]
        tasks = [Task.objects.get(pk=one) for one in ids]

        html = page_of(browser, f"?task={ids[1]}&task={ids[0]}")

        results = table_under(html, "results-title")
        best = [task.best_experiment for task in reversed(tasks)]
        assert [cell.split(" s")[0] for cell in results["Best value"]] == [
            f"{one.objective_value:.3g}" for one in best if one and one.objective_value
        ]
        assert results["Experiments"] == ["6", "6"]
        assert "Nothing differs" in html
        assert 'tone-warn" role="note"' not in html
        assert set(data_of(html)) == {"curves", "progress"}
        assert {one["id"] for one in data_of(html)["curves"]["curves"]} == {
            one.pk for one in best if one
        }

    def test_what_differs_is_shown_and_all_on_demand(
        self, browser: Client, seeding: Seeding
    ) -> None:
        ids = [seeding.task(index, fate=TaskStatus.COMPLETED, experiments=4) for index in (0, 1)]
        address = f"?task={ids[0]}&task={ids[1]}"

        html = page_of(browser, address)

        assert "The objectives differ" in html
        shown = table_under(html, "asked-title")
        assert shown["base_runtime"] == ["sglang", "vllm"]
        assert "deployment_mode" not in shown
        everything = table_under(page_of(browser, address + "&all=1"), "asked-title")
        assert everything["deployment_mode"] == ["docker", "docker"]
        # Courses of different objectives do not share an axis.
        assert len(data_of(html)["progress"]["tasks"]) == 1
        assert "1 task with another objective left out" in html

    def test_the_course_is_that_of_the_best_so_far(self, browser: Client, seeding: Seeding) -> None:
        ids = [seeding.task(index=1, fate=TaskStatus.COMPLETED, experiments=8) for _ in range(2)]

        course = data_of(page_of(browser, f"?task={ids[0]}&task={ids[1]}"))["progress"]["tasks"][0]

        best = Task.objects.get(pk=ids[0]).best_experiment
        assert best is not None
        number, elapsed_s, value, pk = course["steps"][-1]
        assert (number, value, pk) == (best.number, best.objective_value, best.pk)
        first = Task.objects.get(pk=ids[0]).experiments.get(number=0)
        assert best.finished_at is not None
        assert first.started_at is not None
        assert elapsed_s == (best.finished_at - first.started_at).total_seconds()
        assert course["last"][0] == 7

    @pytest.mark.parametrize("fate", [TaskStatus.FAILED, TaskStatus.DRAFT, TaskStatus.RUNNING])
    def test_a_task_without_a_best_can_be_compared_too(
        self, fate: TaskStatus, browser: Client, seeding: Seeding
    ) -> None:
        ids = [seeding.task(fate=one, experiments=3) for one in (fate, TaskStatus.COMPLETED)]

        results = table_under(page_of(browser, f"?task={ids[0]}&task={ids[1]}"), "results-title")

        assert results["Status"][0] == fate.capitalize()

    def test_nothing_measured_at_all(self, browser: Client, seeding: Seeding) -> None:
        ids = [seeding.task(fate=TaskStatus.PENDING) for _ in range(2)]

        html = page_of(browser, f"?task={ids[0]}&task={ids[1]}")

        assert "No load point has been measured yet." in html
        assert "None of the tasks has a success yet." in html

    def test_queries_stay_few(self, browser: Client, seeding: Seeding) -> None:
        ids = [seeding.task(index, experiments=4, fate=TaskStatus.RUNNING) for index in range(6)]
        query = "&".join(f"task={one}" for one in ids)

        with CaptureQueriesContext(connection) as queries:
            page_of(browser, f"?{query}")

        assert len(queries) <= 10


@pytest.mark.django_db
class TestExperiments:
    def test_parameters_and_measurements_stand_side_by_side(
        self, browser: Client, seeding: Seeding
    ) -> None:
        task = Task.objects.get(pk=seeding.task(fate=TaskStatus.COMPLETED, experiments=6))
        one, other = task.experiments.filter(status="SUCCESS").order_by("number")[:2]

        html = page_of(browser, f"?experiment={one.pk}&experiment={other.pk}")

        assert table_under(html, "asked-title")["tp-size"] == [
            "-",
            str(other.parameters["tp-size"]),
        ]
        assert "trust-remote-code" not in table_under(html, "asked-title")
        points = table_under(html, "scenario-1")
        loads = [
            one_of.measurements.filter(scenario="D(512,128)")
            .order_by("-concurrency")[0]
            .metrics["ttft_p50_s"]
            for one_of in (one, other)
        ]
        assert points["TTFT p50"][1].split(" ms ")[1].startswith(f"{loads[1] / loads[0]:.3g} ×")
        assert html.count('scope="rowgroup"') == 8

    def test_experiments_of_different_tasks(self, browser: Client, seeding: Seeding) -> None:
        tasks = [seeding.task(index, fate=TaskStatus.COMPLETED, experiments=3) for index in (0, 2)]
        ids = [Task.objects.get(pk=one).experiments.get(number=0).pk for one in tasks]

        with CaptureQueriesContext(connection) as queries:
            html = page_of(browser, f"?experiment={ids[0]}&experiment={ids[1]}")

        assert "The models differ" in html
        assert table_under(html, "asked-title")["base_runtime"] == ["sglang", "llamacpp"]
        results = table_under(html, "results-title")
        assert results["E2E latency mean"][1] == "-"
        assert results["Output throughput"][0] == "-"
        assert len(queries) <= 10


@pytest.mark.django_db
class TestChoosing:
    def test_one_task_is_offered_others(self, browser: Client, seeding: Seeding) -> None:
        first, second = (seeding.task(fate=TaskStatus.COMPLETED, experiments=2) for _ in range(2))

        html = page_of(browser, f"?task={first}")

        assert "Choose at least one more task" in html
        assert f'href="?task={first}&amp;task={second}"' in html
        assert f'href="?task={first}&amp;task={first}"' not in html

    def test_tasks_are_found_by_name_and_number(self, browser: Client, seeding: Seeding) -> None:
        llama, qwen = (seeding.task(index, fate=TaskStatus.DRAFT) for index in (0, 1))

        for search, found, hidden in (
            ("QWEN", qwen, llama),
            (f"%23{llama}", llama, qwen),
        ):
            html = page_of(browser, f"?q={search}")
            assert f'href="?task={found}"' in html
            assert f'href="?task={hidden}"' not in html
        assert "Nothing matches." in page_of(browser, f"?q={9 * 10**20}")

    def test_an_experiment_is_offered_those_of_its_task(
        self, browser: Client, seeding: Seeding
    ) -> None:
        task, _ = (seeding.task(fate=TaskStatus.COMPLETED, experiments=4) for _ in range(2))
        baseline = Task.objects.get(pk=task).experiments.get(number=0)

        html = page_of(browser, f"?experiment={baseline.pk}")

        offered = re.findall(rf'href="\?experiment={baseline.pk}&amp;experiment=(\d+)"', html)
        successes = Task.objects.get(pk=task).experiments.filter(status="SUCCESS", number__gt=0)
        assert sorted(map(int, offered)) == sorted(successes.values_list("pk", flat=True))

    @pytest.mark.parametrize(
        "query", ["?task=x", "?task=1&experiment=1", "?task=-1&task=-2", f"?task={'9' * 400}"]
    )
    def test_nonsense_is_told_and_leads_on(self, query: str, browser: Client) -> None:
        html = page_of(browser, query, status=400)

        assert "Add a task" in html

    def test_too_many_can_be_reduced(self, browser: Client, seeding: Seeding) -> None:
        ids = [seeding.task(fate=TaskStatus.DRAFT) for _ in range(7)]

        html = page_of(browser, "?" + "&".join(f"task={one}" for one in ids), status=400)

        assert "At most 6 tasks" in html
        fewer = "&amp;".join(f"task={one}" for one in ids[1:6])
        assert f'href="?{fewer}"' in html

    def test_what_belongs_to_others_is_not_found(
        self,
        browser: Client,
        seeding: Seeding,
        stranger: User,
        browser_of: Browser,
        task_document: dict[str, Any],
    ) -> None:
        theirs = seeding.task(fate=TaskStatus.COMPLETED, experiments=2)
        mine = submit(parse_task(task_document), owner=stranger).pk
        experiment = Task.objects.get(pk=theirs).experiments.get(number=0).pk
        other = browser_of(stranger)

        for query in (
            f"?task={mine}&task={theirs}",
            f"?task={theirs}",
            f"?experiment={experiment}",
            f"?task={mine}&task={theirs + mine + 1}",
        ):
            page_of(other, query, status=404)
        assert f'href="?task={theirs}"' not in page_of(other, "")
        assert f'href="?task={theirs}"' in page_of(browser, "")

    def test_signed_out_one_compares_nothing(self) -> None:
        assert Client().get("/compare/?task=1&task=2").status_code == 302
