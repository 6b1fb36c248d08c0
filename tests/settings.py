"""The product's settings over a data directory that goes with the test run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# The sample model is 92 MB and stays where `manage.py sample_model` put it.
_DATA_HOME = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
os.environ.setdefault("AUTOTUNER_MODEL_PATH", str(_DATA_HOME / "inference-autotuner" / "models"))
_SCRATCH = tempfile.TemporaryDirectory(prefix="autotuner-tests-")
os.environ["AUTOTUNER_DATA_DIR"] = _SCRATCH.name

from autotuner_site.settings import *  # noqa: E402, F403
from autotuner_site.settings import DATA_DIR, DATABASES  # noqa: E402

if "DATABASE_URL" not in os.environ:
    # A file, as in production: heartbeats and logs write from threads of their own.
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.db"}

# A good hash takes a tenth of a second, and most tests make users.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
