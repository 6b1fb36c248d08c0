"""Which tasks a list has, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from django.db.models import F
from pydantic import AfterValidator, Field

from tuning.documents.document import Document
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.names import DeploymentMode, EngineName
from tuning.models.task import TaskQuerySet


class TaskOrder(StrEnum):
    """By which field; with a minus the other way round."""

    CREATED = "created_at"
    CREATED_LAST = "-created_at"
    STARTED = "started_at"
    STARTED_LAST = "-started_at"
    FINISHED = "finished_at"
    FINISHED_LAST = "-finished_at"
    NAME = "name"
    NAME_LAST = "-name"
    STATUS = "status"
    STATUS_LAST = "-status"


def _in_utc(moment: datetime) -> datetime:
    """Without a zone it is UTC. The first and the last year have hours that UTC can't say."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        return first if moment.year == first.year else last


# No database stores a NUL in a text, and PostgreSQL won't even look for one.
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
When = Annotated[datetime, AfterValidator(_in_utc)]


class TaskSearch(Document):
    """What is left out does not restrict the list."""

    status: list[TaskStatus] = Field(default=[], description="Repeat it for several.")
    engine: EngineName | None = None
    mode: DeploymentMode | None = None
    owner: Text | None = Field(default=None, description="A user name.")
    q: Text | None = Field(
        default=None, description="Part of the name, the description or the model; or a number."
    )
    created_from: When | None = Field(default=None, description="ISO 8601; UTC without a zone.")
    created_to: When | None = Field(default=None, description="Exclusive.")
    sort: TaskOrder = TaskOrder.CREATED_LAST

    def of(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Those of the tasks that match, in order; what has no time comes last."""
        conditions = {
            "status__in": [status.value for status in self.status],
            "spec__base_runtime": self.engine,
            "spec__deployment_mode": self.mode,
            "owner__username": self.owner,
            "created_at__gte": self.created_from,
            "created_at__lt": self.created_to,
        }
        found = tasks.filter(**{name: value for name, value in conditions.items() if value})
        if self.q is not None:
            found = found.matching(self.q)
        field = F(self.sort.removeprefix("-"))
        if self.sort.startswith("-"):
            return found.order_by(field.desc(nulls_last=True), "-pk")
        return found.order_by(field.asc(nulls_last=True), "pk")
