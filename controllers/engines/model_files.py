"""Where a task's model lies on this host: GGUF files, model directories, hub ids."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from controllers.base import DeploymentError
from tuning.domain.failures import FailureKind

GGUF_MAGIC = b"GGUF"
MAX_SUGGESTIONS = 8

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def locate_gguf(model: str, models_dir: Path) -> Path:
    """The GGUF file meant by `model`: absolute, or relative to `models_dir`.

    A directory with exactly one .gguf file stands for that file.

    Raises:
        DeploymentError: MODEL_MISSING, with the names of the GGUF files that are there.
    """
    path = _path_of(model, models_dir)
    if path.is_dir():
        path = _only_gguf(path)
    if not path.is_file():
        raise _missing(f"There is no model file {path}." + _gguf_suggestions(model, models_dir))
    if not is_gguf(path):
        raise _missing(f"{path} is not a GGUF file: it does not begin with the letters GGUF.")
    return path


def locate_directory_or_hub_id(model: str, models_dir: Path) -> str:
    """An absolute path or a directory below `models_dir`; any other text is taken as a hub id.

    Raises:
        DeploymentError: MODEL_MISSING, for a path that leads nowhere or out of `models_dir`.
    """
    path = _path_of(model, models_dir)
    if path.exists():
        return str(path)
    if Path(model).expanduser().is_absolute() or not _HUB_ID.fullmatch(model):
        raise _missing(f"There is no model at {path}, and {model!r} is not a hub id either.")
    return model


def is_gguf(path: Path) -> bool:
    """Whether the file begins as every GGUF file does.

    Raises:
        DeploymentError: MODEL_MISSING, when the file can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except OSError as error:
        raise _missing(f"The model file {path} can't be read: {error.strerror}.") from error


def _path_of(model: str, models_dir: Path) -> Path:
    """`model` as an absolute path.

    A relative one must stay inside the directory; links below it may lead anywhere, as model
    directories often consist of links into a cache.
    """
    given = Path(model).expanduser()
    if given.is_absolute():
        return given
    if not model.strip() or ".." in given.parts:
        raise _missing(
            f"The model {model!r} is neither an absolute path nor a path inside {models_dir}."
        )
    return models_dir.absolute() / given


def _only_gguf(directory: Path) -> Path:
    files = sorted(path for path in directory.iterdir() if path.suffix.lower() == ".gguf")
    if len(files) == 1:
        return files[0]
    if not files:
        raise _missing(f"The directory {directory} holds no .gguf file.")
    names = ", ".join(path.name for path in files[:MAX_SUGGESTIONS])
    raise _missing(f"The directory {directory} holds {len(files)} .gguf files; name one: {names}.")


def _gguf_suggestions(model: str, models_dir: Path) -> str:
    """The GGUF files below `models_dir`, those with the most similar names first."""
    try:
        names = [str(path.relative_to(models_dir)) for path in models_dir.rglob("*.gguf")]
    except OSError:
        names = []
    if not names:
        return f" {models_dir} holds no .gguf file at all."

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, model.lower(), name.lower()).ratio()

    nearest = sorted(sorted(names), key=likeness, reverse=True)[:MAX_SUGGESTIONS]
    return f" In {models_dir} there is: {', '.join(nearest)}."


def _missing(message: str) -> DeploymentError:
    return DeploymentError(FailureKind.MODEL_MISSING, message)
