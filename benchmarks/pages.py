"""How long the server works at each page, with many tasks: `python -m benchmarks.pages`.

Fills a database with 1,000 tasks and 100,000 experiments (some minutes; `--data` keeps it for the
next time), opens every page some times in this process as a browser would, and prints for each the
number of queries, p50, p95, and p95 as a share of the 150 ms that a page may take.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BUDGET_S = 0.150
MAX_QUERIES = 15
REQUESTS = 40


@dataclass(frozen=True)
class Page:
    """`target` is the fragment that htmx asks for; empty for a whole page."""

    title: str
    address: str
    target: str = ""


@dataclass(frozen=True)
class Cost:
    page: Page
    queries: int
    p50_s: float
    p95_s: float

    @property
    def is_within_budget(self) -> bool:
        return self.queries <= MAX_QUERIES and self.p95_s <= BUDGET_S

    def __str__(self) -> str:
        mark = "" if self.is_within_budget else "  over budget"
        return (
            f"{self.page.title:<44} {self.queries:>3} queries   p50 {self.p50_s * 1000:>6.1f} ms   "
            f"p95 {self.p95_s * 1000:>6.1f} ms   {self.p95_s / BUDGET_S:>5.0%}{mark}"
        )


def pages() -> Iterator[Page]:
    """Every kind of page, with the largest task there is."""
    from tuning.models import Experiment, Task

    ended = Task.objects.filter(status="COMPLETED").order_by("-pk")
    task, other = ended[0].pk, ended[1].pk
    running = Task.objects.filter(status="RUNNING").latest("pk").pk
    experiment = Experiment.objects.filter(task_id=task, status="SUCCESS").latest("pk").pk
    yield Page("dashboard", "/")
    yield Page("tasks", "/tasks/")
    yield Page("tasks, last page", "/tasks/?page=40")
    yield Page("tasks, searched and filtered", "/tasks/?q=llama&status=COMPLETED&engine=sglang")
    yield Page("tasks, sorted by name", "/tasks/?sort=name")
    yield Page("new task", "/tasks/new/")
    yield Page("task, ended", f"/tasks/{task}/")
    yield Page("task, running", f"/tasks/{running}/")
    yield Page("task, charts", f"/tasks/{task}/charts/")
    yield Page("task, winner", f"/tasks/{task}/winner/")
    yield Page("task, log", f"/tasks/{task}/logs/")
    yield Page("experiment", f"/experiments/{experiment}/")
    yield Page("compare two tasks", f"/compare/?task={task}&task={other}")
    yield Page("account", "/account/")
    yield Page("admin, tasks", "/admin/tuning/task/")
    yield Page("admin, experiments", "/admin/tuning/experiment/")
    yield Page("admin, measurements", "/admin/tuning/measurement/")
    yield Page("API, tasks", "/api/tasks/")
    yield Page("API, task", f"/api/tasks/{task}")
    yield Page("API, experiments of a task", f"/api/experiments/task/{task}")


def cost_of(page: Page, requests: int) -> Cost:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.force_login(User.objects.get(username="demo"))
    headers = {"HX-Request": "true", "HX-Target": page.target} if page.target else {}
    client.get(page.address, headers=headers)
    times_s = []
    for _ in range(requests):
        begun = time.perf_counter()
        answer = client.get(page.address, headers=headers)
        times_s.append(time.perf_counter() - begun)
        assert answer.status_code == 200, f"{page.address}: {answer.status_code}"
    with CaptureQueriesContext(connection) as queries:
        client.get(page.address, headers=headers)
    p95_s = statistics.quantiles(times_s, n=20)[-1]
    return Cost(page, len(queries), statistics.median(times_s), p95_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--experiments", type=int, default=100, help="of each task")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--data", type=Path, help="keep the database here, or take the one there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autotuner-pages-") as scratch:
        data_dir = options.data or Path(scratch)
        os.environ["AUTOTUNER_DATA_DIR"] = str(data_dir)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
        measure(options.tasks, options.experiments, options.requests)


def measure(tasks: int, experiments: int, requests: int) -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User

    from tests.seeding import Seeding
    from tuning.database import prepare_database
    from tuning.models import Experiment, Task

    # As the server does at its start; it also loads every view.
    importlib.import_module("autotuner_site.asgi")
    # The test client calls itself testserver.
    settings.ALLOWED_HOSTS = ["*"]
    prepare_database()
    if not Task.objects.exists():
        begun = time.perf_counter()
        demo = User.objects.create_superuser("demo", "", "demo-password")
        Seeding(demo).tasks(tasks, experiments)
        print(f"seeded in {time.perf_counter() - begun:.0f} s")
    print(f"{Task.objects.count():,} tasks, {Experiment.objects.count():,} experiments")
    costs = [cost_of(page, requests) for page in pages()]
    for cost in costs:
        print(cost)
    within = sum(cost.is_within_budget for cost in costs)
    print(f"{within} of {len(costs)} within {MAX_QUERIES} queries and {BUDGET_S * 1000:.0f} ms")


if __name__ == "__main__":
    main()
