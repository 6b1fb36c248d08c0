"""What every process pays for at its start."""

from __future__ import annotations

import os
import subprocess
import sys


def test_what_only_searching_and_measuring_need_is_not_loaded() -> None:
    program = (
        "import sys, django; django.setup(); import autotuner_site.urls; "
        "heavy = ('numpy', 'scipy', 'gguf', 'tokenizers', 'kubernetes'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "autotuner_site.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
