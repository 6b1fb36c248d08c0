"""Checks of this host: Python, genai-bench, directories, disk, ports."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from django.conf import settings

from controllers.ports import can_bind
from tuning.system.check import Finding, Probe, missing, ok, warning
from tuning.system.versions import package_version

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 12)
LITTLE_SPACE_GIB = 5
GIB = 1 << 30


def python() -> Finding:
    version = platform.python_version()
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return ok(version)
    return missing(
        f"{version} is neither 3.11 nor 3.12",
        "Make the virtual environment anew with Python 3.12; genai-bench runs on nothing newer.",
    )


def genai_bench() -> Finding:
    """Looks for the package without importing it: that takes seconds."""
    version = package_version("genai-bench")
    if version and importlib.util.find_spec("genai_bench"):
        return ok(version)
    return missing(
        "the package genai-bench is not installed for this Python",
        "Run `pip install -r requirements.lock` in the environment you start the autotuner from.",
    )


def data_directory() -> Finding:
    """Whether what has to be written can be written."""
    directory = Path(settings.DATA_DIR)
    inside = (
        settings.AUTOTUNER_LOG_DIR,
        settings.AUTOTUNER_RESULTS_DIR,
        settings.AUTOTUNER_RUNTIME_DIR,
        settings.AUTOTUNER_TOKENIZER_DIR,
    )
    for path in (directory, *(Path(one) for one in inside if os.path.lexists(one))):
        trouble = _why_not_writable(path)
        if trouble:
            return missing(
                f"{path} {trouble}",
                "Give this user the right to write there, or set AUTOTUNER_DATA_DIR.",
            )
    return ok(str(directory))


def disk() -> Finding:
    """Results, logs and models of the data directory grow on this file system."""
    usage = shutil.disk_usage(_nearest_existing(Path(settings.DATA_DIR)))
    detail = f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free"
    if usage.free >= LITTLE_SPACE_GIB * GIB:
        return ok(detail)
    return warning(
        detail,
        "Delete old tasks, lower AUTOTUNER_LOG_RETENTION_DAYS, or move AUTOTUNER_DATA_DIR.",
    )


def model_directory() -> Finding:
    directory = Path(settings.AUTOTUNER_MODEL_PATH)
    if directory.is_dir():
        return _models_in(directory)
    if directory == Path(settings.DATA_DIR) / "models":
        # Nobody asked for this directory, and a task may name its model by an absolute path.
        return warning(
            f"{directory} is not there yet",
            "`python manage.py sample_model` makes it and fetches a small model to begin with.",
        )
    return missing(
        f"{directory} is no directory" if directory.exists() else f"there is no {directory}",
        "Create it and put models there, or let AUTOTUNER_MODEL_PATH name another directory.",
    )


def ports() -> Finding:
    """How many engines could listen now; every running one takes a port."""
    first, last = settings.AUTOTUNER_PORT_RANGE
    free = sum(can_bind(port) for port in range(first, last + 1))
    detail = f"{free} of {last - first + 1} free, {first}-{last}"
    hint = "End what listens there, or set a wider AUTOTUNER_PORT_RANGE."
    if free == 0:
        return missing(detail, hint)
    if free < settings.AUTOTUNER_MAX_RUNNING_TASKS:
        return warning(f"{detail}: fewer than tasks may run at a time", hint)
    return ok(detail)


def _models_in(directory: Path) -> Finding:
    """Two levels are enough: `model.gguf`, `family/model.gguf`, `family/model/config.json`."""
    gguf_files = {*directory.glob("*.gguf"), *directory.glob("*/*.gguf")}
    configs = {*directory.glob("*/config.json"), *directory.glob("*/*/config.json")}
    detail = f"{directory}: {len(gguf_files)} .gguf files, {len(configs)} model directories"
    if gguf_files or configs:
        return ok(detail)
    return warning(detail, "`python manage.py sample_model` fetches a small model to begin with.")


def _why_not_writable(path: Path) -> str:
    """In words that follow the path; '' for a directory that can be written."""
    if not path.exists():
        return "is not there"
    if not path.is_dir():
        return "is no directory"
    if not os.access(path, os.W_OK | os.X_OK):
        return "can't be written by this user"
    return ""


def _nearest_existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.exists())


HOST_PROBES = (
    Probe("Python", python, needed=True),
    Probe("genai-bench", genai_bench, needed=True),
    Probe("data directory", data_directory, needed=True),
    Probe("disk", disk),
    Probe("model directory", model_directory, needed=True),
    Probe("ports", ports, needed=True),
)
