"""Words that the task file, the database and the controllers share."""

from __future__ import annotations

from enum import StrEnum

FlagValue = bool | int | float | str
"""What one engine flag may be set to. `True` switches a flag on, `False` leaves it out."""


class EngineName(StrEnum):
    """The engines that can be tuned (`base_runtime` in a task file)."""

    SGLANG = "sglang"
    VLLM = "vllm"
    LLAMACPP = "llamacpp"


class DeploymentMode(StrEnum):
    """Where an engine runs: a process of this host, a container, or a cluster through OME."""

    LOCAL = "local"
    DOCKER = "docker"
    OME = "ome"


class LogSource(StrEnum):
    """Who wrote a log line."""

    ENGINE = "engine"
    BENCHMARK = "benchmark"
    ORCHESTRATOR = "orchestrator"
