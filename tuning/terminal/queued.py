"""`run_task --queue`: a task from file to the workers' queue, and watched from there."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from tuning.composition import build_controller
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import LogSource
from tuning.domain.planning import plan
from tuning.doorbell import ring_for_task
from tuning.logs import LogLine
from tuning.models import LogChunk, Task
from tuning.orchestrator.control import submit
from tuning.terminal.console import output_console
from tuning.terminal.display import Display
from tuning.terminal.session import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    Overrides,
    Session,
    exit_code,
    load_spec,
    print_json,
)

LOOK_INTERVAL_S = 0.5
"""As often as a worker stores its log."""
PATIENCE_S = 10.0
"""How long a task may wait for a worker before the user is told what may be missing."""

NO_BROKER = (
    "No broker answers, so no worker was told. The task is stored: once a worker and its broker "
    "run (python manage.py serve), a sweep finds it."
)
NO_WORKER = (
    "No worker has taken the task yet: all of them are busy, or none runs (python manage.py serve)."
)


def queue_file(path: Path, overrides: Overrides, session: Session, *, wait: bool) -> int:
    """Submit a task file to the workers; with `wait` follow it to its end.

    Raises:
        InvalidTask: the file's problems, all at once; nothing was created.
        SpaceError: no configuration meets its constraints; nothing was created.
        CannotRun: the model or the engine is not there; nothing was created.
    """
    spec = load_spec(path, overrides)
    if settings.REDIS_IS_EMBEDDED:
        # Then the workers are on this machine, and what is missing here is missing for them.
        session.check(spec, build_controller(spec.deployment_mode))
    else:
        plan(spec)
    task = submit(spec, time_limit_s=settings.AUTOTUNER_TASK_TIME_LIMIT_S)
    heard = ring_for_task(task.pk)
    if wait:
        return _follow(task, session, notices=() if heard else (NO_BROKER,))
    if session.as_json:
        print_json({"task": task.pk, "name": task.name, "status": task.status})
    else:
        # On a line of its own, so that a script can read it.
        output_console().print(f"Task {task.pk} is queued.", highlight=False)
    if not heard:
        output_console(stderr=True).print(NO_BROKER, highlight=False)
    return EXIT_DONE


def _follow(task: Task, session: Session, notices: Iterable[str]) -> int:
    display = session.display_for(task)
    try:
        with display:
            display.say(f"Task {task.pk}: {task.name}")
            for notice in notices:
                display.say(notice)
            _Follower(task, display).run()
    except KeyboardInterrupt:
        output_console(stderr=session.as_json).print(
            f"Task {task.pk} goes on without being watched."
        )
        return EXIT_INTERRUPTED
    session.print_result(task)
    return exit_code(task)


class _Follower:
    """Shows what the workers write into the database about a task, until it ends."""

    def __init__(self, task: Task, display: Display) -> None:
        self._task = task
        self._display = display
        self._last_seq = 0
        self._submitted = time.monotonic()
        self._told = False

    def run(self) -> None:
        while True:
            # Read before the log: the lines of a task that has ended are all stored.
            self._task.refresh_from_db()
            self._show_log()
            if self._task.state.is_terminal:
                return
            self._show_phase()
            time.sleep(LOOK_INTERVAL_S)

    def _show_log(self) -> None:
        fresh = LogChunk.objects.filter(task=self._task, first_seq__gt=self._last_seq)
        for chunk in fresh.order_by("first_seq"):
            for at, source, text in chunk.lines:
                self._display.line(LogLine(at, LogSource(source), text))
            self._last_seq = chunk.last_seq

    def _show_phase(self) -> None:
        if self._task.state is TaskStatus.PENDING:
            if not self._told and time.monotonic() - self._submitted > PATIENCE_S:
                self._told = True
                self._display.say(NO_WORKER)
            return
        current = self._task.experiments.order_by("-number").only("status").first()
        if current is not None:
            self._display.progress(current.pk, current.status.lower())
