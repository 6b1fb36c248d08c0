"""Who may see and change what. Each check returns the thing, or raises what Django answers."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from tuning.models import Experiment, Task


class SignedInRequest(HttpRequest):
    """A request of a signed-in user, as the middleware leaves it (for type checking alone)."""

    user: User


def visible_task(user: User, task_id: int) -> Task:
    """Raises Http404 when there is none, or none that this user may see: the two look alike."""
    task = Task.objects.visible_to(user).filter(pk=task_id).first()
    if task is None:
        raise Http404(f"There is no task {task_id}, or it belongs to somebody else.")
    return task


def changeable_task(user: User, task_id: int) -> Task:
    """Raises Http404 as `visible_task`, and PermissionDenied when the user may only look at it."""
    task = visible_task(user, task_id)
    if not Task.objects.changeable_by(user).filter(pk=task_id).exists():
        raise PermissionDenied(f"Task {task_id} belongs to somebody else: you may only look at it.")
    return task


def visible_experiment(user: User, experiment_id: int) -> Experiment:
    """With its task. Raises Http404 as `visible_task` does."""
    experiment = (
        Experiment.objects.select_related("task")
        .filter(pk=experiment_id, task__in=Task.objects.visible_to(user))
        .first()
    )
    if experiment is None:
        raise Http404(f"There is no experiment {experiment_id}, or it belongs to somebody else.")
    return experiment
