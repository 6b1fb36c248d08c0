"""YAML that every parser reads alike.

PyYAML leaves `1e-07` without quotes, which is text to itself and a number to those of YAML 1.2,
such as Kubernetes. So only text that can't be anything else goes without quotes here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_CERTAINLY_TEXT = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.@-]+")
_OTHER_MEANINGS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "nan", "inf"})
_NEVER_FOLDED = 1_000_000


class _Dumper(yaml.SafeDumper):
    """Writes text in double quotes, unless that is certainly not needed."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    is_plain = _CERTAINLY_TEXT.fullmatch(value) and value.lower() not in _OTHER_MEANINGS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if is_plain else '"')


_Dumper.add_representer(str, _text)


def to_yaml(document: Mapping[str, Any]) -> str:
    """`document` holds JSON values alone; the order of its keys is kept."""
    text = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_NEVER_FOLDED
    )
    return str(text)
