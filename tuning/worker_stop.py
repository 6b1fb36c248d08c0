"""How a Celery worker that is asked to stop tells the processes that run its experiments.

Celery stops politely by waiting for the running jobs, which may take hours, and tells its pool of
child processes nothing. So the signal handler of the parent sets one byte of memory that it shares
with them, and each experiment looks at it on every tick: it stops its engine and goes back to the
queue.

Why a shared byte: it needs no lock that a killed child could take to its grave, no file that a
killed worker would leave behind, no signal that could hit a child before it has a handler, and a
child that is forked late sees it too. It works with each pool that forks or uses threads. A pool
that starts fresh interpreters (Celery's default on macOS) has a byte of its own in each: there
running experiments are killed with the worker, and the sweep of the next one takes them back.
"""

from __future__ import annotations

import mmap

from celery.signals import worker_shutting_down

_asked = mmap.mmap(-1, 1)
"""Anonymous shared memory, mapped before the pool forks."""


def asked_to_stop() -> bool:
    """Whether this worker was asked to stop; true in its parent and in all its children."""
    return _asked[0] == 1


@worker_shutting_down.connect
def ask_to_stop(**_: object) -> None:
    """Sent by Celery in the parent, for a polite and for a forced stop alike."""
    _asked[0] = 1
