"""Records of launched engines on disk, by which a later process finds what a crash left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from controllers.base import DeploymentIdentity

_NAME = re.compile(
    r"autotuner-(?P<instance>.+)-t(?P<task>\d+)-e(?P<experiment>\d+)-a(?P<attempt>\d+)"
)


@dataclass(frozen=True)
class EngineRecord:
    """One launched engine. `pid` is also the number of its process group.

    `start_time` is in seconds since the epoch; without it, `pid` alone would prove nothing.
    """

    identity: DeploymentIdentity
    pid: int
    start_time: float
    port: int
    command: tuple[str, ...]


class EngineRecords:
    """The records of one runtime directory, a JSON file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, record: EngineRecord) -> None:
        """Store `record` in one step: a reader sees all of it or nothing.

        Raises:
            OSError: the directory can't be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".record-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(record), file)
            Path(temporary).replace(self._path(record.identity))
        finally:
            Path(temporary).unlink(missing_ok=True)

    def read(self, identity: DeploymentIdentity) -> EngineRecord | None:
        return _read(self._path(identity))

    def remove(self, identity: DeploymentIdentity) -> None:
        """Forget the engine. Nothing happens when there is no record."""
        with contextlib.suppress(FileNotFoundError):
            self._path(identity).unlink()

    def of_instance(self, instance: str) -> Iterator[EngineRecord]:
        """Every readable record of `instance`, in the order of their names."""
        for path in sorted(self._folder.glob("autotuner-*.json")):
            record = _read(path)
            if record is not None and record.identity.instance == instance:
                yield record

    def _path(self, identity: DeploymentIdentity) -> Path:
        return self._folder / f"{identity.name}.json"


def identity_of(name: str) -> DeploymentIdentity | None:
    """The identity whose `name` this is, or None for any other text."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    task, experiment, attempt = (int(found[key]) for key in ("task", "experiment", "attempt"))
    return DeploymentIdentity(found["instance"], task, experiment, attempt)


def _read(path: Path) -> EngineRecord | None:
    """The record in `path`; None when it is gone or not one of ours."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return EngineRecord(
            identity=DeploymentIdentity(**content["identity"]),
            pid=int(content["pid"]),
            start_time=float(content["start_time"]),
            port=int(content["port"]),
            command=tuple(content["command"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
