"""What docs/DOCTOR.md says of each check, for the page that shows the checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from django.conf import settings

_SECTION = re.compile(r"^### (?P<name>.+)\n(?P<text>(?:(?!#).*\n?)*)", re.MULTILINE)


@cache
def explanations() -> Mapping[str, tuple[str, ...]]:
    """The paragraphs for each check by its name; empty where the documents were left behind."""
    path = settings.BASE_DIR / "docs" / "DOCTOR.md"
    if not path.exists():
        return {}
    return {
        found["name"].strip(): tuple(
            " ".join(paragraph.split()) for paragraph in found["text"].strip().split("\n\n")
        )
        for found in _SECTION.finditer(path.read_text(encoding="utf-8"))
    }
