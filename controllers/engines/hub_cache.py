"""What the Hugging Face hub's cache of this host already has of a model. Nothing is downloaded.

Source: "Environment variables" and "Understand caching" in the documentation of huggingface_hub:
`models--<org>--<name>` has a file for each ref and a directory for each snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DEFAULT_REVISION = "main"


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Where programs with this environment keep what they download."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name):
            return Path(environment[name]).expanduser()
    home = environment.get("HF_HOME")
    if home:
        return Path(home).expanduser() / "hub"
    caches = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def cached_snapshot(
    model: str, environment: Mapping[str, str], revision: str = DEFAULT_REVISION
) -> Path | None:
    """The directory of the model's files as they were last downloaded, perhaps not all of them.

    `model` is a hub id, `revision` a branch, a tag or a whole commit. None where there is none.
    """
    if ".." in revision or Path(revision).is_absolute():
        return None
    folder = cache_directory(environment) / f"models--{model.replace('/', '--')}"
    try:
        commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and "/" not in commit and snapshot.is_dir() else None
