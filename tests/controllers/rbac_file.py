"""docs/ome-rbac.yaml, read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parents[2] / "docs" / "ome-rbac.yaml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(FILE.read_text(encoding="utf-8")))


def rules_of(name: str) -> list[dict[str, Any]]:
    """The rules of the Role or ClusterRole called so."""
    (role,) = (
        one
        for one in documents()
        if one["kind"] in {"Role", "ClusterRole"} and one["metadata"]["name"] == name
    )
    rules: list[dict[str, Any]] = role["rules"]
    return rules


def granted(rules: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Verb, group and resource of each single right."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield verb, group, resource
