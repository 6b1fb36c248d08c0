"""Engines as processes of this host keep what every controller promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from controllers.base import Controller, Deployment
from controllers.local import LocalController
from controllers.processes import MARK
from tests.controllers.conformance import ControllerConformance, Harness
from tests.controllers.conftest import PORT_RANGE
from tests.fake_engine.engine import SERVER, FakeEngineKind
from tuning.domain.names import EngineName


def local_controller(runtime_dir: Path) -> LocalController:
    engines = {EngineName.SGLANG: FakeEngineKind()}
    return LocalController(runtime_dir, runtime_dir, PORT_RANGE, engines, polite_s=0.3)


@dataclass
class LocalHarness(Harness):
    runtime_dir: Path = Path()

    def another_controller(self) -> Controller:
        return local_controller(self.runtime_dir)

    def running_names(self) -> list[str]:
        return sorted({name for name in map(self._name, psutil.process_iter()) if name})

    def kill_engine(self, deployment: Deployment) -> None:
        for process in psutil.process_iter():
            if self._name(process) == deployment.identity.name:
                process.kill()

    def _name(self, process: psutil.Process) -> str:
        """The mark of an engine of this harness, or nothing."""
        try:
            name = process.environ().get(MARK, "")
            runs = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return ""
        ours = {identity.name for identity in self.deployed}
        return name if runs and name in ours else ""


class TestLocal(ControllerConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[LocalHarness]:
        assert SERVER.exists()
        harness = LocalHarness(local_controller(tmp_path), runtime_dir=tmp_path)
        yield harness
        harness.clear()
