"""Every environment variable that the settings read is in docs/SETTINGS.md, and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
READ = "import autotuner_site.settings, autotuner_site.env as env; print(*env.READ_VARIABLES)"


def documented_variables() -> list[str]:
    text = (PROJECT / "docs" / "SETTINGS.md").read_text()
    return re.findall(r"^\| `([A-Z_0-9]+)` \|", text, re.MULTILINE)


def variables_read(tmp_path: Path) -> set[str]:
    """In a fresh process with nothing set, so that every default is looked up."""
    found: set[str] = set()
    # With AUTOTUNER_DATA_DIR set, XDG_DATA_HOME is not looked at; without, it has to be.
    for variable in ("AUTOTUNER_DATA_DIR", "XDG_DATA_HOME"):
        environment = {variable: str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(
            [sys.executable, "-c", READ],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found |= set(done.stdout.split())
    return found


def test_every_variable_is_documented_once(tmp_path: Path) -> None:
    documented = documented_variables()
    assert sorted(documented) == sorted(set(documented))
    assert variables_read(tmp_path) - set(documented) == set()


def test_nothing_is_documented_that_nobody_reads(tmp_path: Path) -> None:
    assert set(documented_variables()) - variables_read(tmp_path) == set()
