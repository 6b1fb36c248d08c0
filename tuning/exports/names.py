"""Names that file systems, Kubernetes and compose accept."""

from __future__ import annotations

import re
import unicodedata

LONGEST_LABEL = 63


def slug(text: str) -> str:
    """What is left of `text` in small letters, digits and dashes: `Llama 3.1` is `llama-3-1`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def dns_name(text: str, prefix: str, longest: int = LONGEST_LABEL) -> str:
    """`text` as a DNS label: `^[a-z]([-a-z0-9]*[a-z0-9])?$`.

    `prefix` comes in front where the text begins with no letter, and stands alone where nothing
    of the text is left.
    """
    label = slug(text)
    if not label[:1].isalpha():
        label = f"{prefix}-{label}"
    return label[:longest].strip("-")
