"""A real Celery worker that kills itself, and its parent, with SIGKILL at one chosen place.

    python -m tests.chaos.faulty_worker BOUNDARY TALLY

It kills at most once for each attempt number 1 and 2 of an experiment, as long as TALLY, a file
with a line for each kill, has fewer than three.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BOUNDARIES = {
    "before_deploy": ("_deploy", "before"),
    "deploying": ("_deploy", "after"),
    "ready": ("_await_ready", "after"),
    "benchmarking": ("_save", "before"),
    "storing": ("_save", "after"),
    "cleaning_up": ("_clean_up", "before"),
}
"""Which step of an experiment, and on which side of it."""
KILLS = 3


def main(boundary: str, tally: Path) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "autotuner_site.settings"
    from autotuner_site.celery import app

    app.finalize()
    import django

    django.setup()
    plant(boundary, tally)
    app.worker_main(["worker", "--loglevel=WARNING", "--concurrency=1"])


def plant(boundary: str, tally: Path) -> None:
    from tuning.orchestrator.run_experiment import ExperimentRun

    method, moment = BOUNDARIES[boundary]
    original: Callable[..., Any] = getattr(ExperimentRun, method)

    def deadly(run: ExperimentRun, *arguments: Any) -> Any:
        if moment == "before":
            die_if_due(run, tally)
        result = original(run, *arguments)
        if moment == "after":
            die_if_due(run, tally)
        return result

    setattr(ExperimentRun, method, deadly)


def die_if_due(run: Any, tally: Path) -> None:
    kills = tally.read_text().splitlines() if tally.exists() else []
    attempt = run._experiment.attempt
    if len(kills) >= KILLS or attempt > 2:
        return
    with tally.open("a") as file:
        file.write(f"{run._experiment.number} {attempt}\n")
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
