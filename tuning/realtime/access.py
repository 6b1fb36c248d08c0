"""Who may watch a task, and what a page that may not is told."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser, AnonymousUser

from tuning.models import Task

BAD_REQUEST = 4400
NOT_SIGNED_IN = 4401
NO_SUCH_TASK = 4404


class Refusal(Exception):
    """Ends a socket with a close code of the private range (4000-4999) and a sentence."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def signed_in(user: AbstractUser | AnonymousUser) -> None:
    """Causes a query at the first look. Raises Refusal when nobody is signed in."""
    if not user.is_authenticated:
        raise Refusal(NOT_SIGNED_IN, "Sign in to watch a task.")


def visible_task(user: AbstractUser | AnonymousUser, task_id: int) -> Task:
    """The task, if this user may see it. Causes a query, and one more for the first look.

    Raises:
        Refusal: nobody is signed in; or there is no such task; or it is not for this user. The
            last two look alike, so that nobody learns which tasks there are.
    """
    signed_in(user)
    task = Task.objects.visible_to(user).filter(pk=task_id).first()
    if task is None:
        raise Refusal(NO_SUCH_TASK, "There is no such task.")
    return task
