"""What Kubernetes accepts as names, labels and annotations, so that it is said before sending.

Sources: Kubernetes' "Object Names and IDs", "Labels and Selectors", "Annotations"; for kinds of OME
the name pattern of its admission webhook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from controllers.cluster.yaml_values import UnrenderableValue

LONGEST_LABEL = 63
LONGEST_NAME = 253
MOST_ANNOTATIONS = 256 * 1024
"""Bytes of all keys and values of an object's annotations together."""

_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?")
_KEY_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_OME_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")

_LABELS = ("labels", "matchLabels", "nodeSelector")
"""Fields that hold labels, wherever they are in an object."""


def check_object(document: Mapping[str, Any]) -> None:
    """Raises UnrenderableValue for a name, label or annotation that Kubernetes would refuse."""
    metadata = document["metadata"]
    is_of_ome = str(document["apiVersion"]).startswith("ome.io/")
    name = metadata["name"]
    if is_of_ome:
        check_ome_name("metadata.name", name)
    elif not _SUBDOMAIN.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UnrenderableValue(
            "metadata.name", f"{name!r} must be at most 253 small letters, digits, dashes and dots."
        )
    if "namespace" in metadata:
        check_namespace("metadata.namespace", metadata["namespace"])
    for field, value in _walk(document, ""):
        key = field.rpartition(".")[2]
        if key in _LABELS and isinstance(value, Mapping):
            _check_labels(field, value)
        if key == "annotations" and isinstance(value, Mapping):
            _check_annotations(field, value)


def check_ome_name(field: str, name: object) -> None:
    """Raises UnrenderableValue for what no object of OME may be called."""
    if not isinstance(name, str) or not _OME_NAME.fullmatch(name) or len(name) > LONGEST_LABEL:
        raise UnrenderableValue(
            field,
            f"{name!r} must be at most 63 small letters, digits and dashes, begin with a letter "
            "and not end with a dash.",
        )


def check_namespace(field: str, name: object) -> None:
    """Raises UnrenderableValue for what no namespace may be called."""
    if not isinstance(name, str) or not _DNS_LABEL.fullmatch(name) or len(name) > LONGEST_LABEL:
        raise UnrenderableValue(
            field,
            f"{name!r} must be at most 63 small letters, digits and dashes, and neither begin nor "
            "end with a dash.",
        )


def _walk(value: object, field: str) -> Iterator[tuple[str, object]]:
    yield field, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _walk(item, f"{field}[{place}]")


def _check_labels(field: str, labels: Mapping[str, object]) -> None:
    for key, value in labels.items():
        _check_key(field, key)
        if not isinstance(value, str):
            raise UnrenderableValue(f"{field}.{key}", f"{value!r} must be a text.")
        if not _LABEL_VALUE.fullmatch(value) or len(value) > LONGEST_LABEL:
            raise UnrenderableValue(
                f"{field}.{key}",
                f"{value[:80]!r} must be at most 63 letters, digits, dashes, dots and underscores, "
                "and begin and end with a letter or digit.",
            )


def _check_annotations(field: str, annotations: Mapping[str, object]) -> None:
    size = 0
    for key, value in annotations.items():
        _check_key(field, key)
        if not isinstance(value, str):
            raise UnrenderableValue(f"{field}.{key}", f"{value!r} must be a text.")
        size += len(key.encode()) + len(value.encode())
    if size > MOST_ANNOTATIONS:
        raise UnrenderableValue(field, f"{size:,} bytes are more than the {MOST_ANNOTATIONS:,}.")


def _check_key(field: str, key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    is_name = _KEY_NAME.fullmatch(name) is not None and len(name) <= LONGEST_LABEL
    is_prefix = not slash or (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= LONGEST_NAME)
    if not is_name or not is_prefix:
        raise UnrenderableValue(
            f"{field}.{key[:80]}",
            "a key must be at most 63 letters, digits, dashes, dots and underscores, and may have "
            "a domain and a slash in front.",
        )
