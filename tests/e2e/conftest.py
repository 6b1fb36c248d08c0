"""`manage.py run_task` as a user runs it: its own process, its own data directory."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class Installation:
    """A data directory, and the commands and processes that use it."""

    data_dir: Path
    env: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def task_file(self, document: dict[str, Any]) -> Path:
        path = self.data_dir / "task.json"
        path.write_text(json.dumps(document))
        return path

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, PROJECT / "manage.py", "run_task", *arguments],
            env=self.env,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=150)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database; none before it is there."""
        path = self.data_dir / "autotuner.db"
        if not path.exists():
            return []
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20) as database:
            try:
                return database.execute(sql).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def statuses(self) -> list[str]:
        return [
            row[0] for row in self.query("SELECT status FROM tuning_experiment ORDER BY number")
        ]

    def task_status(self) -> str:
        return str(self.query("SELECT status FROM tuning_task")[0][0])

    def wait_for(self, condition: Callable[[], object], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            assert self.started[-1].poll() is None, self.started[-1].communicate()
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """Every process that works for this data directory: engines, genai-bench, run_task."""
        return [
            *self._processes_with("AUTOTUNER_DATA_DIR", str(self.data_dir)),
            *self.engines(),
        ]

    def engines(self) -> list[psutil.Process]:
        instance = self.data_dir / "instance"
        if not instance.exists():
            return []
        return self._processes_with("AUTOTUNER_ENGINE", f"autotuner-{instance.read_text()}-")

    @staticmethod
    def _processes_with(variable: str, beginning: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(variable, "").startswith(beginning):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


@pytest.fixture
def installation(tmp_path: Path, sample_model: Path, tokenizers: Path) -> Iterator[Installation]:
    """Afterwards no process of it is left and no row is in a running state."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AUTOTUNER_", "DJANGO_", "DATABASE_URL"))
    }
    env["AUTOTUNER_DATA_DIR"] = str(tmp_path)
    env["AUTOTUNER_MODEL_PATH"] = str(sample_model.parent)
    (tmp_path / "tokenizers").symlink_to(tokenizers)
    place = Installation(tmp_path, env)
    yield place
    left = [process for process in place.processes() if process.is_running()]
    described = [" ".join(process.cmdline()) for process in left]
    for process in left:
        process.send_signal(signal.SIGKILL)
    assert described == []
    assert place.query("SELECT * FROM tuning_lease") == []
    running = "SELECT * FROM tuning_experiment WHERE status IN ('DEPLOYING', 'BENCHMARKING')"
    assert place.query(running) == []
    assert list((tmp_path / "engines").glob("*.json")) == []


@pytest.fixture
def one_configuration(task_document: dict[str, Any]) -> dict[str, Any]:
    """One experiment and no baseline: the shortest run there is."""
    task_document["parameters"] = {"threads": 2, "parallel": [2], "ctx-size": 2048}
    task_document["optimization"]["baseline"] = False
    return task_document
