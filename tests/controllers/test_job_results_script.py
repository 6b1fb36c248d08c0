"""The reader's script under busybox alone, whose tools the default image has and no others."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from controllers.cluster import job_results
from controllers.cluster.job_results import ResultsUnreadable

BUSYBOX = shutil.which("busybox")
APPLETS = ("base64", "gzip", "head", "ls", "mktemp", "rm", "sha256sum", "sh", "tail", "tar", "wc")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with busybox's own tools and nothing else."""
    if BUSYBOX is None:
        pytest.skip("busybox is not installed")
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in APPLETS:
        (directory / name).symlink_to(BUSYBOX)
    return directory


def run(tools: Path, folder: Path, offset: int = 1, length: int = 1 << 20) -> tuple[int, str]:
    done = subprocess.run(
        [tools / "sh", "-c", job_results._SCRIPT, "reader", folder, str(offset), str(length)],
        env={"PATH": str(tools), "TMPDIR": str(tools.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_pieces_make_the_whole(tools: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    files = {"a.json": os.urandom(50_000), "b (1).json": b"{}", "-rf.json": b"[]"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "plot.png").touch()
    pieces: list[bytes] = []
    heads = set()
    while not pieces or pieces[-1]:
        code, log = run(tools, folder, sum(map(len, pieces)) + 1, 20_000)
        assert code == 0, log
        head, piece = job_results._parsed(log)
        heads.add(head)
        pieces.append(piece)
    archive = b"".join(pieces)
    (head,) = heads
    assert head[0] == len(archive)
    assert dict(job_results._unpacked(archive)) == files
    assert not list(tmp_path.glob("tmp*"))


def test_no_folder_and_no_files_have_codes_of_their_own(tools: Path, tmp_path: Path) -> None:
    assert run(tools, tmp_path / "nowhere")[0] == job_results._NO_FOLDER
    (tmp_path / "empty").mkdir()
    assert run(tools, tmp_path / "empty")[0] == job_results._NO_FILES


@pytest.mark.parametrize(
    "log",
    [
        "",
        "sh: tar: not found",
        "autotuner-archive 4 abc\nAAAA",
        "autotuner-archive four abc\nAAAA\nautotuner-end",
        "autotuner-archive 4 abc\n!!!!\nautotuner-end",
    ],
)
def test_what_is_no_archive_is_said(log: str) -> None:
    with pytest.raises(ResultsUnreadable, match="printed no"):
        job_results._parsed(log)


def test_an_archive_that_is_cut_off_is_said() -> None:
    with pytest.raises(ResultsUnreadable, match="can't be unpacked"):
        dict(job_results._unpacked(b"\x1f\x8b\x08\x00"))
