"""CustomResourceDefinitions for the test cluster: reduced ones of our own, or OME's in full.

The reduced ones hold what OME's API has of what the autotuner uses, with the same types, enums,
defaults and required fields, so that a server refuses and prunes as it would with OME's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("crds")
FULL_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "ome-crds"
"""OME's own, where somebody has put them beside the checkout."""

Document = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Knows `!fragment NAME` and `!extended {fragment: NAME, …}`."""

    fragments: Document = {}


def _fragment(loader: _Loader, node: yaml.ScalarNode) -> Any:
    return loader.fragments[loader.construct_scalar(node)]


def _extended(loader: _Loader, node: yaml.MappingNode) -> Document:
    """A fragment with other words, and with some of its properties replaced."""
    own: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    base = loader.fragments[own.pop("fragment")]
    properties = {**base.get("properties", {}), **own.pop("properties", {})}
    return {**base, **own, "properties": properties}


class _FragmentLoader(_Loader):
    """Reads the fragments themselves: each may use those before it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        return super().construct_mapping(node, deep=True)


def _read_fragments() -> Document:
    fragments: Document = {}
    text = (FOLDER / "fragments.yaml").read_text()
    for key, node in _top_level(text):
        loader = _FragmentLoader("")
        loader.fragments = fragments
        fragments[key] = loader.construct_document(node)
    return fragments


def _top_level(text: str) -> Iterator[tuple[str, yaml.Node]]:
    root = yaml.compose(text, Loader=_Loader)
    assert isinstance(root, yaml.MappingNode)
    for key, value in root.value:
        yield key.value, value


_Loader.add_constructor("!fragment", _fragment)
_Loader.add_constructor("!extended", _extended)


def reduced_crds() -> list[Document]:
    """One of each kind that the autotuner uses."""
    _Loader.fragments = _read_fragments()
    paths = sorted(FOLDER.glob("*.yaml"))
    kinds = [yaml.load(path.read_text(), _Loader) for path in paths if path.stem != "fragments"]
    return [_definition(**kind) for kind in kinds]


def full_crds() -> list[Document]:
    """OME's own definitions; none where they are not there."""
    # They are so long that the loader written in Python takes seconds for each.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [yaml.load(path.read_bytes(), loader) for path in sorted(FULL_FOLDER.glob("*.yaml"))]


def _definition(
    kind: str, plural: str, scope: str, spec: Document, status: Document | None = None
) -> Document:
    properties: Document = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
        "status": status or {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "subresources": {"status": {}} if status else {},
    }
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.ome.io"},
        "spec": {"group": "ome.io", "scope": scope, "names": names, "versions": [version]},
    }
