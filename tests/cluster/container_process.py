"""Becomes one container's process: `python container_process.py CONFIG`, CONFIG as JSON.

It gets mounts of its own, so that each volume lies exactly where the pod wants it, and sees the
rest of this host's files as they are. Nothing of that is visible outside, and it is gone with the
process. Needs root. It imports nothing of the project: it runs before the container's own program.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
NOT_STARTED = "\0"
"""Before the one line that says why the container's program could not be started."""

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    config = json.loads(sys.argv[1])
    checked(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
    checked(_libc.unshare(CLONE_NEWNS), "unshare")
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    build_root(Path(config["root"]), config["mounts"])
    os.chroot(config["root"])
    os.chdir(config["directory"])
    environment: dict[str, str] = config["environment"]
    command: list[str] = config["command"]
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "executable file not found in $PATH" if missing else str(error.strerror).lower()
        sys.stderr.write(f'{NOT_STARTED}exec: "{command[0]}": {why}\n')
        sys.exit(127)


def checked(result: int, doing: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    arguments = (source.encode(), target.encode(), kind.encode() if kind else None, flags, None)
    checked(_libc.mount(*arguments), f"mount {source} at {target}")


def build_root(root: Path, mounts: list[dict[str, str | bool]]) -> None:
    """The host's files below `root`, with each mount at its place, the outer ones first."""
    mount("tmpfs", str(root), "tmpfs", 0)
    targets = [Path(os.path.realpath(str(one["path"]))) for one in mounts]
    opened = {Path("/")}
    for target in targets:
        if not target.exists():
            opened |= {parent for parent in target.parents if parent.is_dir()}
    fill(Path("/"), root, opened)
    for target, one in sorted(zip(targets, mounts, strict=True), key=lambda pair: pair[0]):
        place_mount(Path(str(one["source"])), root / target.relative_to("/"), bool(one["readonly"]))


def fill(directory: Path, copy: Path, opened: set[Path]) -> None:
    """The entries of `directory` in `copy`; those in `opened` can take new entries."""
    for entry in directory.iterdir():
        place = copy / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry in opened:
            place.mkdir()
            fill(entry, place, opened)
        elif entry.is_dir():
            place.mkdir()
            mount(str(entry), str(place), None, MS_BIND | MS_REC)
        elif entry.is_file():
            place.touch()
            mount(str(entry), str(place), None, MS_BIND)


def place_mount(source: Path, place: Path, readonly: bool) -> None:
    if source.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(str(source), str(place), None, MS_BIND | MS_REC)
    if readonly:
        mount("none", str(place), None, MS_REMOUNT | MS_BIND | MS_RDONLY)


if __name__ == "__main__":
    main()
