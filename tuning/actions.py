"""What people do to tasks, from the pages, the API, the admin and the command line alike.

Each action changes the database and then rings for the workers and the open pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from django.conf import settings
from django.contrib.auth.models import User

from tuning.domain.lifecycle import IllegalTransition, TaskEvent, TaskStatus, sources_of
from tuning.domain.spec import InvalidTask, TaskSpec, parse_task
from tuning.doorbell import announce_task, ring_for_task
from tuning.housekeeping import delete_task
from tuning.models import Task
from tuning.orchestrator import control
from tuning.orchestrator.control import TaskIsBusy

COPY = " (copy)"


class TaskAction(StrEnum):
    """What can be done to a task that exists; `duplicate` is legal in every state."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    DELETE = "delete"


class ActionRefused(Exception):
    """The task is in a state in which this can't be done. The text is for the user."""


def create(spec: TaskSpec, owner: User, *, start: bool) -> Task:
    """A new task of `owner`: a draft, or queued for the workers at once.

    Raises:
        InvalidTask: it is to start at once from earlier tasks that it can't learn from.
    """
    task = control.submit(
        spec,
        owner=owner,
        time_limit_s=settings.AUTOTUNER_TASK_TIME_LIMIT_S,
        draft=not start,
    )
    announce_task(task.pk)
    if start:
        ring_for_task(task.pk)
    return task


def duplicate(task: Task, owner: User) -> Task:
    """A draft that asks for the same."""
    name = task.name if task.name.endswith(COPY) else task.name[: 100 - len(COPY)] + COPY
    return create(parse_task({**task.spec, "task_name": name}), owner, start=False)


def revise(task: Task, spec: TaskSpec) -> None:
    """Change a draft. Raises ActionRefused when it is none."""
    if not control.revise(task.pk, spec):
        raise ActionRefused(f"{_named(task)}: only a draft can be changed; duplicate it instead.")
    announce_task(task.pk)


def start(task: Task) -> str:
    try:
        is_queued = control.queue(task.pk, time_limit_s=settings.AUTOTUNER_TASK_TIME_LIMIT_S)
    except InvalidTask as invalid:
        problems = "; ".join(map(str, invalid.problems))
        raise ActionRefused(f"Task {task.pk} can't be started: {problems}.") from invalid
    if not is_queued:
        raise ActionRefused(f"{_named(task)}: only a draft can be started.")
    _tell(task)
    return f"Task {task.pk} is queued."


def pause(task: Task) -> str:
    if not control.pause(task.pk):
        raise ActionRefused(f"{_named(task)}: only a running task can be paused.")
    announce_task(task.pk)
    return f"Task {task.pk} is paused once its running experiment has ended."


def resume(task: Task) -> str:
    """A task that a dead `run_task` left behind can be resumed too: the workers take it over."""
    if task.state in {TaskStatus.PENDING, TaskStatus.RUNNING} and not task.driver:
        raise ActionRefused(f"{_named(task)} and is run by the workers already.")
    if task.state is TaskStatus.DRAFT:
        raise ActionRefused(f"{_named(task)}: start it instead.")
    try:
        control.resume(task.pk)
    except (IllegalTransition, TaskIsBusy) as refusal:
        raise ActionRefused(f"{_named(task)}: {refusal}") from refusal
    _tell(task)
    return f"Task {task.pk} goes on as soon as a worker is free."


def cancel(task: Task) -> str:
    if not control.request_cancel(task.pk):
        raise ActionRefused(
            f"{_named(task)} or is being cancelled already: there is nothing to cancel."
        )
    _tell(task)
    return f"Task {task.pk} is being cancelled; what was measured is kept."


def delete(task: Task) -> str:
    try:
        delete_task(task.pk)
    except TaskIsBusy as refusal:
        raise ActionRefused(str(refusal)) from refusal
    announce_task(task.pk)
    return f"Task {task.pk} is deleted with its measurements, log and raw results."


ACTIONS: Mapping[TaskAction, Callable[[Task], str]] = {
    TaskAction.START: start,
    TaskAction.PAUSE: pause,
    TaskAction.RESUME: resume,
    TaskAction.CANCEL: cancel,
    TaskAction.DELETE: delete,
}
"""Each takes the task and returns what to tell the user.

Raises ActionRefused, or Task.DoesNotExist when somebody else has deleted the task.
"""

_EVENTS = {
    TaskAction.START: TaskEvent.QUEUED,
    TaskAction.PAUSE: TaskEvent.PAUSED,
    TaskAction.RESUME: TaskEvent.RESUMED,
    TaskAction.CANCEL: TaskEvent.CANCELLED,
}


def possible_actions(task: Task) -> tuple[TaskAction, ...]:
    """What makes sense for the task as it is, for buttons. The action itself checks again."""
    possible = [action for action, event in _EVENTS.items() if task.state in sources_of(event)]
    if task.cancel_requested_at is not None:
        possible = [action for action in possible if action is TaskAction.RESUME]
    if task.state.is_terminal or task.state is TaskStatus.DRAFT:
        possible.append(TaskAction.DELETE)
    return tuple(possible)


def _named(task: Task) -> str:
    task.refresh_from_db(fields=["status"])
    return f"Task {task.pk} is {task.status}"


def _tell(task: Task) -> None:
    announce_task(task.pk)
    ring_for_task(task.pk)
