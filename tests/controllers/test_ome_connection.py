"""How a cluster is found, and what its errors mean: one sentence, and the right kind of failure."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from controllers.base import DeploymentError
from controllers.cluster.connection import (
    CONNECT_TIMEOUT_S,
    ClusterUnavailable,
    api_client,
    asking,
    failure_of,
    lacks_the_kind,
)
from controllers.cluster.settings import ClusterSettings, is_configured
from tests.controllers.api_server import Answer, Request, api_server, status
from tuning.domain.failures import FailureKind


@pytest.fixture(autouse=True)
def nothing_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No kubeconfig and no proxy of whoever runs the tests."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def kubeconfig(folder: Path, server: str, context: str = "here") -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": context, "context": {"cluster": "one", "user": "me"}}],
        "current-context": context,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def unavailable(settings: ClusterSettings) -> str:
    with pytest.raises(ClusterUnavailable) as caught:
        api_client(settings)
    text = str(caught.value)
    assert "\n" not in text
    return text


# --- Finding one ---


def test_without_any_word_of_a_cluster_it_says_where_it_looked() -> None:
    assert not is_configured(ClusterSettings())
    text = unavailable(ClusterSettings())
    assert "KUBECONFIG" in text
    assert "~/.kube/config" in text


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    assert missing in unavailable(ClusterSettings(kubeconfig=missing))


@pytest.mark.parametrize("text", ["{", "- a list", "clusters: 3", "", "\x00"])
def test_a_kubeconfig_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    assert str(path) in unavailable(ClusterSettings(kubeconfig=str(path)))


def test_a_wrong_context_is_answered_with_those_there_are(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", "here")
    text = unavailable(ClusterSettings(kubeconfig=str(path), context="there"))
    assert "`there`" in text
    assert "`here`" in text


def test_the_default_places_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path, "http://127.0.0.1:1").rename(tmp_path / ".kube" / "config")
    assert is_configured(ClusterSettings())
    monkeypatch.setenv("HOME", "/nonexistent")
    assert not is_configured(ClusterSettings())
    monkeypatch.setenv("KUBECONFIG", "/anywhere")
    assert is_configured(ClusterSettings())


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        path = kubeconfig(tmp_path, server)
        text = unavailable(ClusterSettings(kubeconfig=str(path)))
    assert server in text
    assert "refused" in text


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client_settings = ClusterSettings(
            kubeconfig=str(kubeconfig(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}"))
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("controllers.cluster.connection.READ_TIMEOUT_S", 0.3)
            assert "does not answer" in unavailable(client_settings)
    assert CONNECT_TIMEOUT_S > 0


def test_no_tls_behind_https_is_one_line(tmp_path: Path) -> None:
    with api_server(lambda request: Answer({})) as server:
        path = kubeconfig(tmp_path, server.url.replace("http:", "https:"))
        assert "does not answer" in unavailable(ClusterSettings(kubeconfig=str(path)))


def test_credentials_that_are_refused_are_said_so(tmp_path: Path) -> None:
    answer = Answer(status(401, "Unauthorized", "Unauthorized"), 401)
    with api_server(lambda request: answer) as server:
        path = kubeconfig(tmp_path, server.url)
        assert "credentials" in unavailable(ClusterSettings(kubeconfig=str(path)))


def test_a_cluster_that_hides_its_version_will_do(tmp_path: Path) -> None:
    def answer(request: Request) -> Answer:
        return Answer(status(403, "Forbidden", "no"), 403)

    with api_server(answer) as server:
        settings = ClusterSettings(kubeconfig=str(kubeconfig(tmp_path, server.url)))
        assert api_client(settings).configuration.host == server.url


# --- What refusals mean ---


def refusal(code: int, document: dict[str, Any] | str) -> ApiException:
    error = ApiException(status=code, reason="Reason")
    error.body = document if isinstance(document, str) else json.dumps(document)
    return error


FORBIDDEN = (
    'inferenceservices.ome.io is forbidden: User "system:serviceaccount:tools:autotuner" cannot '
    'create resource "inferenceservices" in API group "ome.io" in the namespace "models"'
)
CLUSTER_WIDE = 'nodes is forbidden: User "me" cannot list resource "nodes" in API group "" at the'
WEBHOOK = 'admission webhook "inferenceservice.ome.io" denied the request: the runtime is disabled'
TERMINATING = (
    'inferenceservices.ome.io "x" is forbidden: unable to create new content in namespace old '
    "because it is being terminated"
)


@pytest.mark.parametrize(
    ("code", "document", "kind", "words"),
    [
        (
            403,
            status(403, "Forbidden", FORBIDDEN, group="ome.io", kind="inferenceservices"),
            FailureKind.FORBIDDEN,
            [
                "system:serviceaccount:tools:autotuner",
                "create inferenceservices of ome.io",
                "`models`",
                "docs/ome-rbac.yaml",
            ],
        ),
        (
            403,
            status(403, "Forbidden", f"{CLUSTER_WIDE} cluster scope"),
            FailureKind.FORBIDDEN,
            ["`me`", "list nodes", "cluster-wide"],
        ),
        (
            403,
            status(403, "Forbidden", 'User "system:anonymous" cannot get resource "pods" in API'),
            FailureKind.FORBIDDEN,
            ["does not know us"],
        ),
        (403, status(403, "Forbidden", TERMINATING), FailureKind.FORBIDDEN, ["terminated"]),
        (
            400,
            status(400, "BadRequest", WEBHOOK),
            FailureKind.INVALID_SPEC,
            ["`inferenceservice.ome.io`", "the runtime is disabled"],
        ),
        (
            403,
            status(403, "Forbidden", WEBHOOK),
            FailureKind.INVALID_SPEC,
            ["`inferenceservice.ome.io`", "the runtime is disabled"],
        ),
        (
            404,
            status(404, "NotFound", 'namespaces "lost" not found', name="lost", kind="namespaces"),
            FailureKind.INVALID_SPEC,
            ["no namespaces `lost`"],
        ),
        (
            404,
            status(404, "NotFound", "the server could not find the requested resource"),
            FailureKind.ENGINE_MISSING,
            ["OME's CRDs are not installed"],
        ),
        (404, "404 page not found\n", FailureKind.ENGINE_MISSING, ["CRDs"]),
        (
            409,
            status(
                409,
                "AlreadyExists",
                'inferenceservices.ome.io "x" already exists',
                name="x",
                kind="inferenceservices",
            ),
            FailureKind.INVALID_SPEC,
            ["inferenceservices `x`", "already there"],
        ),
        (
            422,
            status(
                422,
                "Invalid",
                "InferenceService is invalid: [spec.engine…]",
                name="x",
                causes=[
                    {
                        "reason": "FieldValueInvalid",
                        "message": 'Invalid value: "null": must be of type integer',
                        "field": "spec.engine.minReplicas",
                    },
                    {
                        "reason": "FieldValueRequired",
                        "message": "Required value",
                        "field": "spec.a",
                    },
                ],
            ),
            FailureKind.INVALID_SPEC,
            ["`spec.engine.minReplicas`: Invalid value", "`spec.a`: Required value"],
        ),
        (
            500,
            status(500, "InternalError", 'failed calling webhook "x": connection\nrefused'),
            FailureKind.CLUSTER_UNAVAILABLE,
            ["500", 'webhook "x": connection refused'],
        ),
        (503, "", FailureKind.CLUSTER_UNAVAILABLE, ["503"]),
        (
            429,
            status(429, "TooManyRequests", "slow down"),
            FailureKind.CLUSTER_UNAVAILABLE,
            ["429"],
        ),
    ],
)
def test_a_refusal_names_the_right_the_object_or_the_field(
    code: int, document: dict[str, Any] | str, kind: FailureKind, words: list[str]
) -> None:
    failure = failure_of(refusal(code, document), "make the InferenceService x")
    assert failure.kind is kind
    assert failure.message.startswith("Could not make the InferenceService x: ")
    assert failure.message.endswith(".")
    assert "\n" not in failure.message
    for one in words:
        assert one in failure.message


def test_a_missing_object_is_told_from_a_missing_kind() -> None:
    gone = status(404, "NotFound", 'pods "x" not found', name="x", kind="pods")
    assert not lacks_the_kind(refusal(404, gone))
    assert lacks_the_kind(refusal(404, "404 page not found"))


def test_what_is_never_answered_becomes_a_failure_of_the_cluster() -> None:
    with api_server(lambda request: Answer({})) as server:
        client = server.client()
    with pytest.raises(DeploymentError) as caught, asking(client, "read its version"):
        client.call_api("/version", "GET", response_types_map={200: "object"})
    assert caught.value.failure.kind is FailureKind.CLUSTER_UNAVAILABLE
    assert server.url in caught.value.failure.message
