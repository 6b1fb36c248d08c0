"""Doing the same to several tasks, with an account of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.contrib.auth.models import User

from tuning.actions import ACTIONS, ActionRefused, TaskAction, possible_actions
from tuning.models import Task

BULK_ACTIONS = (TaskAction.CANCEL, TaskAction.DELETE)
COMPARE = "compare"
FEWEST_TO_COMPARE, MOST_TO_COMPARE = 2, 6

_TASK_ID = re.compile(r"[0-9]{1,18}")
"""What fits into the database's integers."""


@dataclass
class BulkReport:
    """What was done and what was refused, one sentence for each task."""

    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DeletePlan:
    """What a delete would do: the tasks that would go, and why the others would stay."""

    tasks: Sequence[Task]
    refused: Sequence[str]


def act_on_all(user: User, action: TaskAction, task_ids: Sequence[int]) -> BulkReport:
    """Each task by itself: one that refuses leaves the others alone."""
    report = BulkReport()
    chosen, report.refused = _changeable(user, task_ids)
    for task in chosen:
        try:
            report.done.append(ACTIONS[action](task))
        except ActionRefused as refusal:
            report.refused.append(str(refusal))
        except Task.DoesNotExist:
            report.refused.append(f"Task {task.pk} is not there any more.")
    return report


def plan_delete(user: User, task_ids: Sequence[int]) -> DeletePlan:
    chosen, refused = _changeable(user, task_ids)
    may_go = [task for task in chosen if TaskAction.DELETE in possible_actions(task)]
    busy = [task for task in chosen if task not in may_go]
    refused += [f"Task {task.pk} is {task.status}: cancel it first." for task in busy]
    return DeletePlan(may_go, refused)


def why_not_compare(task_ids: Sequence[int]) -> str:
    """'' when that many tasks can be compared."""
    if FEWEST_TO_COMPARE <= len(task_ids) <= MOST_TO_COMPARE:
        return ""
    return (
        f"Tick {FEWEST_TO_COMPARE} to {MOST_TO_COMPARE} tasks to compare them; "
        f"you ticked {len(task_ids)}."
    )


def task_ids_of(values: Sequence[str]) -> list[int]:
    """The numbers among the values, each once, in their order."""
    numbers = [value for value in values if _TASK_ID.fullmatch(value)]
    return list(dict.fromkeys(map(int, numbers)))


def _changeable(user: User, task_ids: Sequence[int]) -> tuple[list[Task], list[str]]:
    """The tasks that the user may change, and why not the others."""
    visible = Task.objects.visible_to(user).in_bulk(task_ids)
    changeable = set(
        Task.objects.changeable_by(user).filter(pk__in=visible).values_list("pk", flat=True)
    )
    refused = []
    for task_id in task_ids:
        if task_id not in visible:
            refused.append(f"There is no task {task_id}, or it belongs to somebody else.")
        elif task_id not in changeable:
            refused.append(f"Task {task_id} belongs to somebody else: you may only look at it.")
    return [visible[one] for one in task_ids if one in changeable], refused
