"""Container images without a registry: this Python and a server, from this host's own files."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import xllamacpp

from tests.fake_engine.engine import SERVER

IMAGE = "autotuner-fake-engine"
TAG = "test"
LLAMACPP_IMAGE = "llama.cpp:server"
"""As the product calls it where a task names no other."""

_NOT_NEEDED = re.compile(
    r"/(test|tests|idlelib|tkinter|ensurepip|site-packages|lib2to3|turtledemo|__pycache__)(/|$)"
    r"|/config-|\.a$"
)
_PROJECT = Path(__file__).resolve().parents[2]
_XLLAMACPP = Path(xllamacpp.__file__).resolve().parent
_PYTHON = Path(sys.executable).resolve()
_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()

_RUN_FAKE = "import runpy\nrunpy.run_path('/server.py', run_name='__main__')\n"
_RUN_LLAMACPP = f"""import sys
sys.path[:0] = [{str(_PROJECT)!r}, {str(_XLLAMACPP.parent)!r}]
from controllers.engines.llamacpp_server import main
main()
"""


def write_image(tar_path: Path) -> None:
    """FakeEngine as `/server.py`, and in the places of llama.cpp's server and of SGLang."""
    with tarfile.open(tar_path, "w") as tar:
        _add_python(tar)
        tar.add(SERVER, "server.py")
        _add_program(tar, "app/llama-server", _RUN_FAKE)
        _add_program(tar, _inside(_LIBRARY / "sglang" / "launch_server.py"), _RUN_FAKE)


def write_llamacpp_image(tar_path: Path) -> None:
    """llama.cpp's real server, out of the package xllamacpp, where its own image has it."""
    ours = (_PROJECT / "controllers", _PROJECT / "tuning" / "domain")
    with tarfile.open(tar_path, "w") as tar:
        _add_python(tar, with_libraries_of=_XLLAMACPP.glob("*.so"))
        for path in (*_files(_XLLAMACPP), *(path for folder in ours for path in _files(folder))):
            tar.add(path, _inside(path))
        tar.add(_PROJECT / "tuning" / "__init__.py", _inside(_PROJECT / "tuning" / "__init__.py"))
        _add_program(tar, "app/llama-server", _RUN_LLAMACPP)


def _add_python(tar: tarfile.TarFile, with_libraries_of: Iterable[Path] = ()) -> None:
    """This Python and what it needs, where they lie here, also as `/usr/bin/python3`."""
    files = [_PYTHON, *_files(_LIBRARY)]
    for path in files:
        tar.add(path, _inside(path), recursive=False)
    binaries = [path for path in files if path == _PYTHON or path.suffix == ".so"]
    for needed in _shared_libraries([*binaries, *with_libraries_of]):
        tar.add(needed.resolve(), _inside(needed))
    for link in ("usr/bin/python3", "bin/sh"):
        entry = tarfile.TarInfo(link)
        entry.type, entry.linkname = tarfile.SYMTYPE, str(_PYTHON)
        tar.addfile(entry)
    for folder in ("tmp", "root", "cache", "model"):
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o777
        tar.addfile(entry)


def _add_program(tar: tarfile.TarFile, name: str, source: str) -> None:
    text = f"#!/usr/bin/python3\n{source}".encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text), 0o755
    tar.addfile(entry, io.BytesIO(text))


def _inside(path: Path) -> str:
    """The name in the archive of what lies at `path` here."""
    return str(path).lstrip("/")


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        if not _NOT_NEEDED.search(folder.removeprefix(str(root))):
            yield from (Path(folder, name) for name in names if not _NOT_NEEDED.search(f"/{name}"))


def _shared_libraries(binaries: Iterable[Path]) -> set[Path]:
    """What `ldd` says that they are linked against, the loader included."""
    done = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False)
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)}
