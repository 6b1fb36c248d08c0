"""A real Celery worker that kills itself, and its parent, with SIGKILL at chosen places.

    python -m tests.chaos.faulty_worker TALLY

The first attempt at an experiment dies at one boundary, the second at another, the third lives:
three experiments meet all six boundaries. TALLY, a file, gets a line for each kill.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.models import Experiment

RUN = "tuning.orchestrator.run_experiment.ExperimentRun"
MEASURING = "tuning.orchestrator.measuring.Measuring"
BOUNDARIES = {
    "before_deploy": (f"{RUN}._deploy", "before"),
    "deploying": (f"{RUN}._deploy", "after"),
    "ready": (f"{RUN}._await_ready", "after"),
    "benchmarking": (f"{MEASURING}._save", "before"),
    "storing": (f"{MEASURING}._save", "after"),
    "cleaning_up": (f"{RUN}._clean_up", "before"),
}
"""Which step of an experiment, and on which side of it."""
KILLED_ATTEMPTS = 2
"""As many as an experiment may lose its worker and still be tried again."""


def main(tally: Path) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "autotuner_site.settings"
    from autotuner_site.celery import app

    app.finalize()
    import django

    django.setup()
    for boundary in BOUNDARIES:
        plant(boundary, tally)
    app.worker_main(["worker", "--loglevel=WARNING", "--concurrency=1"])


def boundary_for(number: int, attempt: int) -> str | None:
    """Where this attempt at the experiment of this number dies, if it does."""
    if attempt > KILLED_ATTEMPTS:
        return None
    names = list(BOUNDARIES)
    return names[(KILLED_ATTEMPTS * number + attempt - 1) % len(names)]


def plant(boundary: str, tally: Path) -> None:
    from django.utils.module_loading import import_string

    step, moment = BOUNDARIES[boundary]
    place, _, method = step.rpartition(".")
    owner = import_string(place)
    original: Callable[..., Any] = getattr(owner, method)

    def deadly(run: Any, *arguments: Any) -> Any:
        if moment == "before":
            die_if_due(run._experiment, boundary, tally)
        result = original(run, *arguments)
        if moment == "after":
            die_if_due(run._experiment, boundary, tally)
        return result

    setattr(owner, method, deadly)


def die_if_due(experiment: Experiment, boundary: str, tally: Path) -> None:
    if boundary_for(experiment.number, experiment.attempt) != boundary:
        return
    with tally.open("a") as file:
        file.write(f"{boundary}\n")
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
