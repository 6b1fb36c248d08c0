"""Engines that are installed as Python packages beside the autotuner: vLLM and SGLang."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path


def installed_version(*distributions: str) -> str | None:
    """The version of the first of `distributions` that this Python has, with its name."""
    for name in distributions:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def script(name: str) -> str | None:
    """The command `name` beside this Python, else on PATH.

    The first matters when the virtual environment runs without having been activated.
    """
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
