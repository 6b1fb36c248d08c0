"""The lifecycle's transitions as conditions of an UPDATE."""

from __future__ import annotations

from tuning.domain.lifecycle import ExperimentEvent, TaskEvent, sources_of


def legal_statuses(event: TaskEvent | ExperimentEvent) -> list[str]:
    """The stored values of the statuses in which the event is legal, for `status__in`."""
    return [status.value for status in sources_of(event)]
