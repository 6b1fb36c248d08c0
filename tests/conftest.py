"""Fixtures that every kind of test may need."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from controllers.engines.gguf_tokenizer import tokenizer_directory
from controllers.sample_model import fetch_sample_model
from tests.seeding import Seeding
from tuning.domain.spec import parse_task
from tuning.models import Task
from tuning.orchestrator.control import submit

# A machine that is busy otherwise is slow, and that is no fault of a test.
hypothesis_settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("suite")

SMALL_TASK: dict[str, Any] = {
    "task_name": "small",
    "deployment_mode": "local",
    "model": {"id_or_path": "SmolLM2-135M-Instruct.Q4_1.gguf"},
    "base_runtime": "llamacpp",
    "parameters": {"threads": [1, 2], "parallel": [1, 4], "ctx-size": 2048},
    "optimization": {
        "strategy": "grid_search",
        "objective": "maximize_throughput",
        "timeout_per_iteration": 60,
        "verification": 0,
    },
    "benchmark": {
        "traffic_scenarios": ["D(16,8)"],
        "num_concurrency": [2],
        "max_requests_per_iteration": 4,
        "max_time_per_iteration": 1,
        "warmup": 1,
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests last, so that a small mistake shows at once."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.fixture(scope="session")
def sample_model() -> Path:
    """The real sample model, fetched once for the user and not once for each run."""
    return fetch_sample_model(settings.AUTOTUNER_MODEL_PATH)


@pytest.fixture(scope="session")
def tokenizers(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer directory made once: to make it takes seconds in each new installation."""
    cache = tmp_path_factory.mktemp("tokenizers")
    tokenizer_directory(sample_model, cache)
    return cache


@pytest.fixture
def task_document() -> dict[str, Any]:
    """A small valid task for the sample model; yours to change."""
    return copy.deepcopy(SMALL_TASK)


@pytest.fixture
def make_task(task_document: dict[str, Any]) -> Callable[..., Task]:
    """Submit the small task with some sections changed: `make_task(optimization={...})`."""

    def make(**sections: Any) -> Task:
        for name, value in sections.items():
            if isinstance(value, dict) and name != "parameters":
                task_document.setdefault(name, {}).update(value)
            else:
                task_document[name] = value
        return submit(parse_task(task_document))

    return make


@pytest.fixture
def owner(db: None) -> User:
    """Somebody with tasks of their own and no other rights."""
    return User.objects.create_user("owner", password="owner-password")


@pytest.fixture
def stranger(db: None) -> User:
    """Somebody who may sign in, and that is all."""
    return User.objects.create_user("stranger", password="stranger-password")


@pytest.fixture
def browser_of() -> Callable[[User], Client]:
    """Django's test client, signed in."""

    def of(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return of


@pytest.fixture
def seeding(owner: User) -> Seeding:
    """Makes the owner tasks with results: `seeding.task(fate=TaskStatus.COMPLETED)`."""
    return Seeding(owner)
