"""Installations of the autotuner that tune in the test cluster; no object of theirs may be left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.images import GENAI_BENCH_IMAGE
from tests.cluster.objects import MODEL, MODEL_PATH, RUNTIME
from tests.controllers.conftest import WORKER
from tests.e2e.conftest import Installation as CommandLine

Document = dict[str, Any]
PORTS = f"{8601 + 40 * WORKER}-{8640 + 40 * WORKER}"
OURS = ("AUTOTUNER_", "DJANGO_", "DATABASE_URL", "REDIS_URL", "KUBECONFIG")
"""Beginnings of the variables that a test decides by itself."""


def environment_for(cluster: Cluster, kubeconfig: Path | None = None) -> dict[str, str]:
    """Variables with which an installation finds the cluster, as the administrator by default."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return kept | {
        "AUTOTUNER_KUBECONFIG": str(kubeconfig or cluster.kubeconfig),
        "AUTOTUNER_OME_BENCHMARK_IMAGE": GENAI_BENCH_IMAGE,
        "AUTOTUNER_PORT_RANGE": PORTS,
    }


@pytest.fixture
def tokenizer(cluster: Cluster, tokenizers: Path) -> Path:
    """For genai-bench here, and for the one on the nodes, among the model's files."""
    (made,) = (path for path in tokenizers.iterdir() if path.is_dir())
    for place in cluster.node_file(MODEL_PATH):
        shutil.copytree(made, place, dirs_exist_ok=True)
    return made


@pytest.fixture
def fake_task(namespace: str, tokenizer: Path) -> Document:
    """FakeEngine in the place of SGLang; yours to change."""
    return {
        "task_name": "fake",
        "deployment_mode": "ome",
        "model": {"id_or_path": MODEL, "namespace": namespace},
        "base_runtime": "sglang",
        "ome": {"runtime": RUNTIME},
        "parameters": {"tp-size": [1, 2], "max-running-requests": [1, 4]},
        "optimization": {
            "objective": "maximize_throughput",
            "baseline": False,
            "timeout_per_iteration": 120,
            "max_parallel": 1,
            "verification": 0,
        },
        "benchmark": {
            "model_tokenizer": str(tokenizer),
            "traffic_scenarios": ["D(16,8)"],
            "num_concurrency": [4],
            "max_requests_per_iteration": 12,
            "max_time_per_iteration": 1,
            "warmup": 0,
        },
    }


@pytest.fixture
def command_line(
    cluster: Cluster, namespace: str, tmp_path: Path, tokenizers: Path
) -> Iterator[CommandLine]:
    """`manage.py run_task` over a data directory of its own."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "tokenizers").symlink_to(tokenizers)
    environment = environment_for(cluster) | {
        "AUTOTUNER_DATA_DIR": str(data_dir),
        "AUTOTUNER_INSTANCE": f"t{os.getpid()}",
    }
    place = CommandLine(data_dir, environment)
    with nothing_left(cluster, namespace):
        try:
            yield place
        finally:
            for process in place.started:
                if process.poll() is None:
                    # Politely, so that genai-bench ends with it.
                    process.terminate()
                    process.communicate(timeout=60)


@contextmanager
def nothing_left(cluster: Cluster, namespace: str) -> Iterator[None]:
    """What a test leaves in the namespace fails it."""
    yield
    assert cluster.left_in(namespace) == []
    assert cluster.pod_processes(namespace) == []
