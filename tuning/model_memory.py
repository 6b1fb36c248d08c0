"""Whether the configurations of a task fit on cards, as far as its model is known on this host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from controllers.base import DeploymentError
from controllers.engines.base import Engine
from controllers.engines.memory import MemoryEstimate
from controllers.feasibility import estimate_on, known_model
from tuning.domain.names import FlagValue


class ModelMemory:
    """Estimates for one model, which is looked up once. `models_dir` is where relative paths
    begin."""

    def __init__(self, model: str, engine: Engine, models_dir: Path) -> None:
        self._engine = engine
        self._located: str | None
        try:
            self._located = engine.locate_model(model, models_dir)
        except DeploymentError:
            self._located = None

    def estimate(
        self, parameters: Mapping[str, FlagValue], cards_mib: Sequence[float]
    ) -> MemoryEstimate | None:
        """For an engine with these flags on cards of these sizes; None where nothing is known."""
        if self._located is None or not cards_mib:
            return None
        model = known_model(self._located, parameters)
        return None if model is None else estimate_on(self._engine, model, parameters, cards_mib)
