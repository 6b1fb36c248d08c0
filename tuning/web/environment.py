"""What is known of an experiment's environment, as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "cpu": "CPU",
    "cpu_count": "CPUs",
    "gpu": "GPU",
    "gpus": "GPUs",
    "gpu_model": "GPU model",
    "memory_mib": "memory",
    "ome_version": "OME version",
    "docker_version": "Docker version",
    "kubernetes_version": "Kubernetes version",
}
_NOTHING = "\N{EN DASH}"


def facts_in_a_line(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each fact that one line can say."""
    return [
        (_name(key), _text(key, value)) for key, value in environment.items() if not _is_deep(value)
    ]


def facts_to_unfold(environment: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Name and value of the others."""
    return [(_name(key), value) for key, value in environment.items() if _is_deep(value)]


def _name(key: str) -> str:
    return _NAMES.get(key, key.replace("_", " "))


def _is_deep(value: Any) -> bool:
    items = value if isinstance(value, list) else ()
    return isinstance(value, dict) or any(isinstance(item, dict | list) for item in items)


def _text(key: str, value: Any) -> str:
    if value is None or value == []:
        return "none" if value == [] else _NOTHING
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,} MiB" if key.endswith("_mib") else str(value)
