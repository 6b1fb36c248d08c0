"""A real API server takes every object that the autotuner makes, and keeps each of its fields.

It drops fields that it does not know without a word, so what it would store is compared with what
was sent. Asked with `dryRun`, it does all but store it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from controllers.cluster.models import plan_model
from controllers.cluster.settings import ModelStorage
from tests.cluster.api import path_of
from tests.cluster.binaries import Binaries
from tests.cluster.cluster import Cluster
from tests.cluster.control_plane import ControlPlane
from tests.cluster.crds import FULL_FOLDER
from tests.controllers.cluster_samples import DOCUMENTS, MANIFESTS, SERVICE, request
from tests.controllers.service_plans import OBJECTS
from tests.controllers.test_cluster_manifests import HOSTILE
from tests.services import wait_until

PRESETS = Path(__file__).resolve().parents[2] / "examples" / "ome"
EVERYTHING: dict[str, dict[str, Any]] = {
    **OBJECTS,
    **{f"preset {path.stem}": yaml.safe_load(path.read_text()) for path in PRESETS.rglob("*.yaml")},
}
KINDS = {
    "InferenceService": "inferenceservices",
    "ServingRuntime": "servingruntimes",
    "ClusterServingRuntime": "clusterservingruntimes",
    "BaseModel": "basemodels",
    "ClusterBaseModel": "clusterbasemodels",
    "BenchmarkJob": "benchmarkjobs",
}
LOADED_WITHIN_S = 120.0


class Server:
    """An API server, asked what it would store."""

    def __init__(self, plane: ControlPlane) -> None:
        # Loading OME's own definitions takes it seconds.
        self._client = httpx.Client(
            base_url=plane.url, verify=plane.client_tls(), trust_env=False, timeout=60
        )

    def close(self) -> None:
        self._client.close()

    def would_store(self, document: dict[str, Any]) -> dict[str, Any]:
        metadata = {**document["metadata"]}
        if "namespace" in metadata:
            metadata["namespace"] = "default"
        path = path_of(document["kind"], metadata.get("namespace", ""))
        answer = self._client.post(
            path, params={"dryRun": "All"}, json={**document, "metadata": metadata}
        )
        assert answer.status_code == 201, answer.text
        stored: dict[str, Any] = answer.json()
        return stored

    def knows(self, kind: str) -> bool:
        return self._client.get(path_of(kind, "")).status_code == 200

    def define(self, definition: dict[str, Any]) -> None:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        self._client.post(path, json=definition).raise_for_status()


@pytest.fixture(scope="module")
def with_reduced_definitions(cluster: Cluster) -> Iterator[Server]:
    server = Server(cluster.control_plane)
    yield server
    server.close()


@pytest.fixture(scope="module")
def with_full_definitions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not FULL_FOLDER.is_dir():
        pytest.skip(f"OME's own definitions are not at {FULL_FOLDER}")
    plane = ControlPlane(Binaries.found(), tmp_path_factory.mktemp("plane"))
    try:
        plane.start_api()
        server = Server(plane)
        for plural in KINDS.values():
            text = (FULL_FOLDER / f"ome.io_{plural}.yaml").read_bytes()
            server.define(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        for kind in KINDS:
            wait_until(partial(server.knows, kind), kind, LOADED_WITHIN_S)
        yield server
        server.close()
    finally:
        plane.stop()


def lost(sent: Any, stored: Any, field: str = "") -> list[str]:
    """The fields of `sent` that `stored` has otherwise or not at all; more it may have.

    A pod is given tolerations beside its own.
    """
    if field == ".spec.tolerations":
        stored = stored[: len(sent)]
    if isinstance(sent, dict) and isinstance(stored, dict):
        found = (
            lost(item, stored[key], f"{field}.{key}") if key in stored else [f"{field}.{key}"]
            for key, item in sent.items()
        )
        return [one for some in found for one in some]
    if isinstance(sent, list) and isinstance(stored, list) and len(sent) == len(stored):
        pairs = enumerate(zip(sent, stored, strict=True))
        return [one for place, pair in pairs for one in lost(*pair, f"{field}[{place}]")]
    return [] if sent == stored else [field]


def assert_kept(server: Server, document: dict[str, Any]) -> None:
    metadata = {**document["metadata"]}
    if "namespace" in metadata:
        metadata["namespace"] = "default"
    assert lost({**document, "metadata": metadata}, server.would_store(document)) == []


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_server_keeps_each_field_of_each_object(
    name: str, with_reduced_definitions: Server
) -> None:
    assert_kept(with_reduced_definitions, EVERYTHING[name])


@pytest.mark.slow
def test_a_server_with_omes_own_definitions_keeps_each_field_of_each_object(
    with_full_definitions: Server,
) -> None:
    for document in EVERYTHING.values():
        assert_kept(with_full_definitions, document)


def test_hostile_arguments_are_stored_as_they_are(with_reduced_definitions: Server) -> None:
    service = dataclasses.replace(SERVICE, args=HOSTILE).document(MANIFESTS)
    stored = with_reduced_definitions.would_store(service)

    assert stored["spec"]["engine"]["runner"]["args"] == HOSTILE


def test_a_lost_field_would_be_found(with_reduced_definitions: Server) -> None:
    service = DOCUMENTS["service"].document(MANIFESTS)
    service["spec"]["engine"]["runner"]["argz"] = ["--x"]
    stored = with_reduced_definitions.would_store(service)

    assert ".spec.engine.runner.argz" in lost(service, stored)


def test_a_model_on_a_claim_is_kept(with_reduced_definitions: Server) -> None:
    assert_kept(with_reduced_definitions, plan_model(request(), ModelStorage(), MANIFESTS))
