"""How OME makes a pod of an InferenceService and its runtime: its merge rules, as they are.

From OME's source, v0.1.5: `inferenceservice/utils/merging.go` (a strategic merge patch of the
runtime's `engineConfig` with the service's `engine`), `reconcilers/common/podspec_reconciler.go`
and `components/base.go`.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from tests.cluster.api import Document

GPU = "nvidia.com/gpu"
_MERGE_KEYS = {
    "env": "name",
    "volumes": "name",
    "containers": "name",
    "initContainers": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
"""Lists that merge item by item. Every other one replaces the runtime's as a whole: `command` and
`args` too."""
_OF_THE_COMPONENT = ("minReplicas", "maxReplicas", "runner", "labels", "annotations")
_PLACEHOLDER = re.compile(r"{{\s*(\.\w+)\s*}}")


class TemplateError(Exception):
    """Go's template engine refused the container."""


def merged_engine(runtime: Document | None, own: Document) -> Document:
    """The service's engine over the runtime's.

    Go writes a runner's name even where it is empty, so a runner without one blanks the runtime's.
    """
    if runtime is None:
        return copy.deepcopy(own)
    own = copy.deepcopy(own)
    if "runner" in own:
        own["runner"].setdefault("name", "")
    merged: Document = _merged(copy.deepcopy(runtime), own)
    return merged


def _merged(base: Any, change: Any, field: str = "") -> Any:
    if isinstance(base, dict) and isinstance(change, dict):
        for name, value in change.items():
            base[name] = _merged(base.get(name), value, name)
        return base
    if isinstance(base, list) and isinstance(change, list) and field in _MERGE_KEYS:
        return _merged_list(base, change, _MERGE_KEYS[field])
    return change


def _merged_list(base: list[Document], change: list[Document], key: str) -> list[Document]:
    places = {item.get(key): place for place, item in enumerate(base)}
    for item in change:
        if item.get(key) in places:
            place = places[item.get(key)]
            base[place] = _merged(base[place], item)
        else:
            base.append(item)
    return base


def pod_spec_of(engine: Document, model: Document | None, service: Document) -> Document:
    """The pod of a merged engine. `model` is the model's object, where there is one.

    Raises:
        TemplateError: the container holds `{{` that is no placeholder OME knows.
    """
    spec = {name: value for name, value in engine.items() if name not in _OF_THE_COMPONENT}
    runner = copy.deepcopy(engine.get("runner", {}))
    storage = (model or {}).get("spec", {}).get("storage", {})
    if model is not None and "path" in storage:
        name, path = model["metadata"]["name"], storage["path"]
        _add(runner, "volumeMounts", {"name": name, "mountPath": path, "readOnly": True})
        _add_variable(runner, "MODEL_PATH", path)
        volume = {"name": name, "hostPath": {"path": path}}
        spec["volumes"] = [*spec.get("volumes", []), volume]
    gpus = runner.get("resources", {}).get("limits", {}).get(GPU)
    if gpus:
        _add_variable(runner, "PARALLELISM_SIZE", str(gpus))
    filled = _with_placeholders(runner, service["metadata"])
    spec["containers"] = [*spec.get("containers", []), filled]
    return spec


def _add(runner: Document, field: str, item: Document) -> None:
    runner[field] = [*runner.get(field, []), item]


def _add_variable(runner: Document, name: str, value: str) -> None:
    if all(one["name"] != name for one in runner.get("env", [])):
        _add(runner, "env", {"name": name, "value": value})


def _with_placeholders(container: Document, metadata: Document) -> Document:
    """OME runs the whole container, as JSON, through Go's html/template with the metadata."""

    def fill(match: re.Match[str]) -> str:
        known: dict[str, str] = {".Name": metadata["name"], ".Namespace": metadata["namespace"]}
        if match[1] not in known:
            raise TemplateError(f"can't evaluate field {match[1][1:]} in type v1.ObjectMeta")
        return known[match[1]]

    text = _PLACEHOLDER.sub(fill, json.dumps(container, ensure_ascii=False))
    if "{{" in text:
        raise TemplateError("template: container-tmpl:1: unexpected characters in a command")
    filled: Document = json.loads(text)
    return filled
