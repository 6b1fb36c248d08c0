"""The installation: is it well, what does it do, which containers does it run."""

from __future__ import annotations

from typing import Any, Literal

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.utils import timezone
from ninja import Router
from pydantic import Field

from tuning.access import SignedInRequest
from tuning.api.errors import errors
from tuning.documents.document import Document
from tuning.domain.spec import task_json_schema
from tuning.system.broker import queue_depth
from tuning.system.containers import Containers, list_containers
from tuning.system.status import SystemStatus, as_document, system_status, workers

router = Router(tags=["system"])


class Health(Document):
    """Whether tasks can be run. The status is `ok` when everything answers."""

    status: Literal["ok", "degraded"]
    database: bool = Field(description="Whether the database answers.")
    redis: bool = Field(
        description="Whether Redis answers. Without it tasks go on, but more slowly."
    )
    workers: int = Field(description="Workers that are alive. Without one, no task moves.")


@router.get("/system/health", response={200: Health}, summary="Is it well?")
def health(request: SignedInRequest) -> Health:
    """Cheap enough to ask every few seconds."""
    try:
        alive, database = sum(worker.alive for worker in workers(timezone.now())), True
    except DatabaseError:
        alive, database = 0, False
    redis = queue_depth() is not None
    status: Literal["ok", "degraded"] = "ok" if database and redis and alive else "degraded"
    return Health(status=status, database=database, redis=redis, workers=alive)


@router.get(
    "/system/status", response={200: SystemStatus, **errors(403)}, summary="State of the system"
)
def status(request: SignedInRequest) -> dict[str, Any]:
    """Workers, queue, what runs, leases, orphans, disk, database, versions. For staff."""
    _staff_only(request)
    return as_document(system_status())


@router.get(
    "/docker/containers", response={200: Containers, **errors(403)}, summary="List containers"
)
def containers(request: SignedInRequest) -> Containers:
    """Those of the docker mode, as the Docker engine tells of them. For staff."""
    _staff_only(request)
    return list_containers()


@router.get(
    "/schema/task", response={200: dict[str, Any]}, summary="JSON Schema of a task document"
)
def task_schema(request: SignedInRequest) -> dict[str, Any]:
    """For editors and forms. It can't know what spans several fields; a preview does."""
    return task_json_schema()


def _staff_only(request: SignedInRequest) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may see this: it is about the whole installation.")
