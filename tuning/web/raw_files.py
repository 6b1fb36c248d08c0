"""The files that genai-bench wrote for one experiment, to download.

Secrets are gone from them: the benchmark's own redaction happens before a file gets here
(`controllers.genai_bench.output`).
"""

from __future__ import annotations

import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tuning.models import Experiment

LARGEST_ARCHIVE_BYTES = 512 * 1024 * 1024
"""Of what goes in. More is for the host's own tools."""


class TooLarge(Exception):
    """There is more than one download should carry."""


def results_directory(results_dir: Path, experiment: Experiment) -> Path:
    """Where `orchestrator.run_experiment` has the benchmark keep its results."""
    return (
        results_dir / f"task_{experiment.task_id}" / f"experiment_{experiment.number}" / "results"
    )


def raw_files(directory: Path) -> Iterator[Path]:
    """The plain files right in the directory, by name; none where there is no directory.

    genai-bench makes no folders in it. Links are left out: they may lead anywhere.
    """
    try:
        found = sorted(directory.iterdir())
    except OSError:
        return
    for path in found:
        if stat.S_ISREG(path.lstat().st_mode):
            yield path


def archive(directory: Path) -> IO[bytes]:
    """The files in one zip, at its beginning; it vanishes from the disk when it is closed.

    Raises:
        FileNotFoundError: there are no files.
        TooLarge: there are more than `LARGEST_ARCHIVE_BYTES`.
    """
    files = list(raw_files(directory))
    if not files:
        raise FileNotFoundError(directory)
    if sum(path.stat().st_size for path in files) > LARGEST_ARCHIVE_BYTES:
        raise TooLarge
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is given to the caller
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in files:
            zipped.write(path, path.name)
    file.seek(0)
    return file
