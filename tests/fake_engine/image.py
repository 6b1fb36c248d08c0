"""A container image without a registry: this Python and FakeEngine, from this host's own files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.fake_engine.engine import SERVER

IMAGE = "autotuner-fake-engine"
TAG = "test"

_NOT_NEEDED = re.compile(
    r"/(test|tests|idlelib|tkinter|ensurepip|site-packages|lib2to3|turtledemo|__pycache__)(/|$)"
    r"|/config-|\.a$"
)


def write_image(tar_path: Path, also: tuple[Path, ...] = ()) -> None:
    """A file system as `docker import` takes it. `also` are directories to take along as well.

    Everything lies where it lies here; `/usr/bin/python3` is this Python and `/server.py` the
    server.
    """
    python = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    with tarfile.open(tar_path, "w") as tar:
        taken: set[str] = set()

        def take(path: Path, name: str) -> None:
            if name not in taken:
                taken.add(name)
                tar.add(path, name, recursive=False)

        for path in (python, *_files(library), *(one for root in also for one in _files(root))):
            take(path, str(path).lstrip("/"))
        binaries = [python, *(path for path in _files(library) if path.suffix == ".so")]
        binaries += [path for root in also for path in _files(root) if ".so" in path.name]
        for needed in _shared_libraries(binaries):
            take(needed.resolve(), str(needed).lstrip("/"))
        take(SERVER, "server.py")
        for link in ("usr/bin/python3", "bin/sh"):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, str(python)
            tar.addfile(entry)
        for folder in ("tmp", "root", "cache", "model"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        if not _NOT_NEEDED.search(folder.removeprefix(str(root))):
            yield from (Path(folder, name) for name in names if not _NOT_NEEDED.search(f"/{name}"))


def _shared_libraries(binaries: list[Path]) -> set[Path]:
    """What `ldd` says that they are linked against, the loader included."""
    done = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False)
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)}


if __name__ == "__main__":
    write_image(Path(sys.argv[1]))
