"""Containers as one user sees them: whose they are, and what may be done to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from tuning.access import changeable_task, visible_task
from tuning.models import Experiment, Task
from tuning.system.containers import Container


@dataclass(frozen=True)
class ContainerRow:
    """`task` and `experiment` are None where there is none (any more), or none of this user's."""

    container: Container
    task: Task | None
    experiment: Experiment | None
    may_read: bool
    may_stop: bool


def container_rows(user: User, containers: Sequence[Container]) -> list[ContainerRow]:
    """Three queries, however many there are."""
    ours = [one for one in containers if one.is_ours]
    task_ids = {one.task_id for one in ours if one.task_id is not None}
    experiment_ids = {one.experiment_id for one in ours if one.experiment_id is not None}
    visible = Task.objects.visible_to(user).only("name").in_bulk(task_ids)
    changeable = (
        Task.objects.changeable_by(user).filter(pk__in=visible).values_list("pk", flat=True)
    )
    may_change = set(changeable)
    experiments = Experiment.objects.only("number", "task_id").filter(task__in=visible)
    found = experiments.in_bulk(experiment_ids)
    return [
        ContainerRow(
            container=one,
            task=visible.get(one.task_id or 0) if one.is_ours else None,
            experiment=found.get(one.experiment_id or 0) if one.is_ours else None,
            may_read=user.is_superuser or (one.is_ours and one.task_id in visible),
            may_stop=one.is_ours and (user.is_superuser or one.task_id in may_change),
        )
        for one in containers
    ]


def check_readable(user: User, container: Container) -> None:
    """What an engine prints is its task's, and is read by whoever may see the task.

    Raises Http404, or PermissionDenied for another installation's.
    """
    if user.is_superuser:
        return
    _check_ours(container)
    visible_task(user, container.task_id or 0)


def check_stoppable(user: User, container: Container) -> None:
    """Raises as `check_readable`, and PermissionDenied for a task that is not theirs to change.

    A superuser may also stop what is left of a task that was deleted.
    """
    _check_ours(container)
    if not user.is_superuser:
        changeable_task(user, container.task_id or 0)


def _check_ours(container: Container) -> None:
    if not container.is_ours:
        raise PermissionDenied(
            f"{container.name} belongs to another installation of the autotuner: "
            "it is left alone here."
        )
