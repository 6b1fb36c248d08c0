"""Addresses of the admin, and what is sent to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from tuning.models import (
    ApiToken,
    Experiment,
    GpuLease,
    Lease,
    LogChunk,
    Measurement,
    Task,
    WorkerHeartbeat,
)

BrowserOf = Callable[[User], Client]

MODELS: list[type[Any]] = [
    ApiToken,
    Experiment,
    GpuLease,
    Lease,
    LogChunk,
    Measurement,
    Task,
    WorkerHeartbeat,
]


def list_of(model: type[Any]) -> str:
    return reverse(f"admin:tuning_{model._meta.model_name}_changelist")


def page_of(row: Any, kind: str = "change") -> str:
    return reverse(f"admin:tuning_{row._meta.model_name}_{kind}", args=[row.pk])


def act_on(browser: Client, action: str, *tasks: Task, **more: str) -> HttpResponse:
    data = {"action": action, "_selected_action": [task.pk for task in tasks], **more}
    answer = browser.post(list_of(Task), data, follow=True)
    assert isinstance(answer, HttpResponse)
    return answer


def told_by(answer: HttpResponse) -> list[tuple[str, str]]:
    return [(one.level_tag, one.message) for one in answer.context["messages"]]  # type: ignore[attr-defined]


def as_posted(row: Mapping[str, object]) -> dict[str, str]:
    return {name: "changed" if isinstance(value, str) else "9" for name, value in row.items()}
