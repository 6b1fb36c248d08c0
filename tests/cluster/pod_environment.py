"""What a pod gives its containers: environment, expanded commands, volumes and /etc/hosts."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.api import Api, Document

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


class NotMountable(Exception):
    """A volume, or a variable, that can't be had; a sentence as a kubelet's event has it."""


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the value of a variable that is there; `$$` becomes `$`.

    https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


async def environment_of(api: Api, pod: Document, container: Document) -> dict[str, str]:
    """The variables of a container, each expanded with those before it."""
    variables: dict[str, str] = {}
    for one in container.get("env", []):
        if "valueFrom" in one:
            variables[one["name"]] = await _value_from(api, pod, one["valueFrom"])
        else:
            variables[one["name"]] = expanded(one.get("value", ""), variables)
    return variables


async def _value_from(api: Api, pod: Document, source: Document) -> str:
    if "fieldRef" in source:
        value: object = pod
        for part in source["fieldRef"]["fieldPath"].split("."):
            value = value.get(part, "") if isinstance(value, dict) else ""
        return str(value)
    for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if field in source:
            return await _value_of_key(api, pod, kind, source[field])
    raise NotMountable(f"no such source of a variable here: {', '.join(source)}")


async def _value_of_key(api: Api, pod: Document, kind: str, reference: Document) -> str:
    name, key = reference["name"], reference["key"]
    found = await api.get(kind, pod["metadata"]["namespace"], name)
    if found is None or key not in found.get("data", {}):
        if reference.get("optional"):
            return ""
        raise NotMountable(f"couldn't find key {key} in {kind} {name}")
    text: str = found["data"][key]
    return base64.b64decode(text).decode() if kind == "Secret" else text


class Volumes:
    """Directories of this host in the place of a pod's volumes.

    A node's own files (hostPath) lie below `node_root`, a claim's where its volume says.
    """

    def __init__(self, api: Api, directory: Path, node_root: Path) -> None:
        self._api = api
        self._directory = directory
        self._node_root = node_root
        self._places: dict[str, Path] = {}

    async def prepare(self, pod: Document) -> None:
        for volume in pod["spec"].get("volumes", []):
            place = await self._place_of(pod, volume)
            place.mkdir(parents=True, exist_ok=True)
            self._places[volume["name"]] = place

    def mounts_of(self, container: Document) -> list[dict[str, str | bool]]:
        mounts: list[dict[str, str | bool]] = []
        for one in container.get("volumeMounts", []):
            source = self._places[one["name"]] / one.get("subPath", "").lstrip("/")
            if not source.exists():
                source.mkdir(parents=True)
            readonly = bool(one.get("readOnly", False))
            mounts.append({"source": str(source), "path": one["mountPath"], "readonly": readonly})
        return mounts

    async def _place_of(self, pod: Document, volume: Document) -> Path:
        if "emptyDir" in volume:
            return self._directory / "volumes" / str(volume["name"])
        if "hostPath" in volume:
            return self._of_node(volume["hostPath"], volume["name"])
        if "persistentVolumeClaim" in volume:
            return await self._of_claim(pod, volume["persistentVolumeClaim"]["claimName"])
        if "secret" in volume:
            return await self._of_keys(
                pod, "Secret", volume["secret"]["secretName"], volume["name"]
            )
        if "configMap" in volume:
            return await self._of_keys(
                pod, "ConfigMap", volume["configMap"]["name"], volume["name"]
            )
        raise NotMountable(f"no such kind of volume here: {volume}")

    def _of_node(self, source: Document, name: str) -> Path:
        place = self._node_root / str(source["path"]).lstrip("/")
        if source.get("type") == "Directory" and not place.is_dir():
            raise NotMountable(
                f'MountVolume.SetUp failed for volume "{name}" : hostPath type check failed: '
                f"{source['path']} is not a directory"
            )
        return place

    async def _of_claim(self, pod: Document, name: str) -> Path:
        claim = await self._api.get("PersistentVolumeClaim", pod["metadata"]["namespace"], name)
        volume_name = (claim or {}).get("spec", {}).get("volumeName", "")
        volume = await self._api.get("PersistentVolume", "", volume_name) if volume_name else None
        if volume is None:
            raise NotMountable(f'persistentvolumeclaim "{name}" is not bound')
        return Path(volume["spec"]["hostPath"]["path"])

    async def _of_keys(self, pod: Document, kind: str, name: str, volume: str) -> Path:
        found = await self._api.get(kind, pod["metadata"]["namespace"], name)
        if found is None:
            what = f'{kind.lower()} "{name}" not found'
            raise NotMountable(f'MountVolume.SetUp failed for volume "{volume}" : {what}')
        place = self._directory / "volumes" / volume
        place.mkdir(parents=True, exist_ok=True)
        decode: Callable[[str], bytes] = base64.b64decode if kind == "Secret" else str.encode
        for key, text in found.get("data", {}).items():
            (place / key).write_bytes(decode(text))
        return place
