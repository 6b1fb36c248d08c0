"""What is known to be in vain is not launched: too few GPUs for a rule, too little memory on them.

One place for every controller, and for whoever tells users of it before anything is started. Where
the model's configuration is not on this host, or the cards don't tell their size, nothing is said.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controllers.base import DeploymentError, DeploymentRequest, LogSink
from controllers.engines.base import Engine
from controllers.engines.hub_cache import DEFAULT_REVISION, cached_snapshot
from controllers.engines.memory import (
    MemoryEstimate,
    Verdict,
    estimate,
    model_config,
    weights_size,
)
from controllers.gpus import GpuInventory, read_gpus
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue, LogSource

_MODELS_REMEMBERED = 64


@dataclass(frozen=True)
class KnownModel:
    """A model's config.json (or the same facts of a GGUF file), and bytes of its weights."""

    config: Mapping[str, Any]
    weights_bytes: int | None


def known_model(
    located: str,
    parameters: Mapping[str, FlagValue],
    environment: Mapping[str, str] = os.environ,
) -> KnownModel | None:
    """What this host knows of a model; None for nothing. Reads files, and downloads nothing.

    `located` is what `Engine.locate_model` gives: an absolute path, or a hub id, which is looked
    up in the hub's cache of this host. The cache that containers share can't be read from here.
    """
    path = Path(located)
    if not path.is_absolute():
        revision = str(parameters.get("revision", DEFAULT_REVISION))
        found = cached_snapshot(located, environment, revision)
        if found is None:
            return None
        path = found
    return _read(path, _state_of(path))


def estimate_on(
    engine: Engine,
    model: KnownModel,
    parameters: Mapping[str, FlagValue],
    cards_mib: Sequence[float],
) -> MemoryEstimate:
    """Whether the model fits on cards of these sizes, one or more, all of which it takes."""
    return estimate(
        engine.name,
        model.config,
        parameters,
        memory_at_hand(engine, parameters, cards_mib),
        model.weights_bytes,
    )


def memory_at_hand(
    engine: Engine, parameters: Mapping[str, FlagValue], cards_mib: Sequence[float]
) -> float:
    """What `estimate` calls the card's memory, of cards that may differ in size.

    Each of an engine's cards holds as much as the others, so that the smallest decides; but
    llama.cpp deals the layers out by size, unless it is told to keep to one card.
    """
    if engine.name is EngineName.LLAMACPP and parameters.get("split-mode") != "none":
        return sum(cards_mib)
    return min(cards_mib)


def refuse_infeasible(
    engine: Engine,
    located: str,
    request: DeploymentRequest,
    log: LogSink,
    read_cards: Callable[[], GpuInventory] = read_gpus,
) -> None:
    """Refuse what could not be served on the request's cards; a tight fit is told to `log`.

    Raises:
        DeploymentError: BAD_FLAG for a broken rule on the number of GPUs, OUT_OF_MEMORY for a model
            that is surely too big for them. Nothing was launched.
    """
    engine.check_flags(request.parameters, len(request.gpus) or None)
    cards_mib = _sizes(request.gpus, read_cards) if request.gpus else None
    model = known_model(located, request.parameters) if cards_mib else None
    if model is None or not cards_mib:
        return
    found = estimate_on(engine, model, request.parameters, cards_mib)
    if found.verdict is Verdict.TOO_BIG:
        raise DeploymentError(
            FailureKind.OUT_OF_MEMORY, f"{found.reason} The engine was not launched."
        )
    if found.verdict is Verdict.TIGHT:
        log(LogSource.ORCHESTRATOR, f"GPU memory may not suffice. {found.reason}")


def _sizes(gpus: Sequence[int], read_cards: Callable[[], GpuInventory]) -> list[float] | None:
    """MiB of each card, unless one does not tell."""
    known = {card.index: card.memory_mib for card in read_cards().gpus}
    sizes = [known[index] for index in gpus if index in known]
    return sizes if len(sizes) == len(gpus) else None


@functools.lru_cache(_MODELS_REMEMBERED)
def _read(path: Path, state: tuple[int, ...]) -> KnownModel | None:
    """Remembered for a `state` of the files: a GGUF header takes a twentieth of a second."""
    config = model_config(path)
    return None if config is None else KnownModel(config, weights_size(path))


def _state_of(path: Path) -> tuple[int, ...]:
    """Changes when the model's files do, as far as that shows without reading them all."""
    found: list[int] = []
    for one in (path, path / "config.json"):
        try:
            status = one.stat()
        except OSError:
            continue
        found += [status.st_mtime_ns, status.st_size]
    return tuple(found)
