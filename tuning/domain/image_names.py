"""Names of container images, without tag and digest, as Docker reads them.

Source: the grammar in the package `reference` of github.com/distribution/reference.
"""

from __future__ import annotations

import re

EXAMPLES = "lmsysorg/sglang or registry.example:5000/team/vllm"
_MOST_CHARACTERS = 255

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*")


def image_name_fault(name: str) -> str | None:
    """What is wrong with the name of an image, as the end of a sentence; None when it is right."""
    if len(name) > _MOST_CHARACTERS:
        return f"must have at most {_MOST_CHARACTERS} characters"
    if _NAME.fullmatch(name):
        return None
    untagged, separator, tag = name.rpartition(":")
    if separator and "@" not in name and "/" not in tag and _NAME.fullmatch(untagged):
        return f"must not have a tag; name the tag {tag!r} in runtime_image_tag"
    return f"must be the name of an image, such as {EXAMPLES}"
