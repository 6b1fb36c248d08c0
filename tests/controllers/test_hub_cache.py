"""Finding what the hub's cache of this host has of a model, as huggingface_hub lays it out."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache

from controllers.engines.hub_cache import cache_directory, cached_snapshot

COMMIT = "a" * 40
MODEL = "meta/tiny"


def snapshot_in(cache: Path, model: str = MODEL, ref: str = "main", commit: str = COMMIT) -> Path:
    """A snapshot with a config.json, as a download leaves it."""
    folder = cache / f"models--{model.replace('/', '--')}"
    refs = folder / "refs" / ref
    refs.parent.mkdir(parents=True, exist_ok=True)
    refs.write_text(commit)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / "config.json").write_text("{}")
    return snapshot


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"HF_HUB_CACHE": "/hub", "HF_HOME": "/home"}, "/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HF_HOME": "/home", "XDG_CACHE_HOME": "/xdg"}, "/home/hub"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"),
        ({}, str(Path.home() / ".cache/huggingface/hub")),
    ],
)
def test_the_environment_says_where_the_cache_is(
    environment: dict[str, str], directory: str
) -> None:
    assert cache_directory(environment) == Path(directory)


def test_the_hubs_own_library_finds_the_same(tmp_path: Path) -> None:
    snapshot = snapshot_in(tmp_path)
    environment = {"HF_HUB_CACHE": str(tmp_path)}
    assert cached_snapshot(MODEL, environment) == snapshot
    own = try_to_load_from_cache(MODEL, "config.json", cache_dir=tmp_path)
    assert own == str(snapshot / "config.json")


def test_a_revision_is_a_branch_a_tag_or_a_commit(tmp_path: Path) -> None:
    main = snapshot_in(tmp_path)
    pinned = snapshot_in(tmp_path, ref="refs/pr/7", commit="b" * 40)
    environment = {"HF_HUB_CACHE": str(tmp_path)}
    assert cached_snapshot(MODEL, environment, "refs/pr/7") == pinned
    assert cached_snapshot(MODEL, environment, COMMIT) == main


@pytest.mark.parametrize("revision", ["v2", "../../..", "/etc", "", "c" * 40])
def test_what_is_not_there_is_not_found(tmp_path: Path, revision: str) -> None:
    snapshot_in(tmp_path)
    assert cached_snapshot(MODEL, {"HF_HUB_CACHE": str(tmp_path)}, revision) is None
    assert cached_snapshot("meta/other", {"HF_HUB_CACHE": str(tmp_path)}) is None
