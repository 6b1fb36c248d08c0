"""Only an address at which an engine answers is used."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from controllers.cluster.address import reachable_url
from tests.controllers.port_forward_server import free_port

UID = "uid-of-the-service"


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[int]:
    """A server that answers GETs of these paths with JSON, and others with 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            body = json.dumps(answer).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Not to the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


ENGINE = {"/v1/models": {"object": "list", "data": [{"id": "fake"}]}}


def inference_service(url: str | None = None) -> dict[str, Any]:
    return {"metadata": {"name": "one", "uid": UID}, "status": {"url": url}}


def service(kind: str, ports: list[dict[str, int]], **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "one", "ownerReferences": [{"uid": UID}]},
        "spec": {"type": kind, "ports": ports},
        "status": status,
    }


@contextmanager
def cluster_with(*services: dict[str, Any]) -> Iterator[ApiClient]:
    """An API server that knows these Services, and one pod on a node that is this host."""
    pods = [{"metadata": {"name": "one-engine-1"}, "status": {"hostIP": "127.0.0.1"}}]
    answers = {
        "/api/v1/namespaces/space/services": {"kind": "ServiceList", "items": list(services)},
        "/api/v1/namespaces/space/pods": {"kind": "PodList", "items": pods},
    }
    with answering(answers) as port:
        configuration = Configuration(host=f"http://127.0.0.1:{port}")
        configuration.proxy = None
        yield ApiClient(configuration)


def test_the_services_own_address_where_it_answers() -> None:
    with answering(ENGINE) as port, cluster_with() as client:
        url = f"http://127.0.0.1:{port}"
        assert reachable_url(client, inference_service(f"{url}/"), "space") == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "http://one.space.svc.cluster.invalid",
        "ftp://127.0.0.1",
        "http://",
        "nonsense",
        "http://127.0.0.1:1",
    ],
)
def test_an_address_that_leads_nowhere_is_none(url: str | None) -> None:
    with cluster_with() as client:
        assert reachable_url(client, inference_service(url), "space") is None


def test_somebody_elses_answer_is_none() -> None:
    with answering({"/v1/models": {"portal": "sign in"}}) as port, cluster_with() as client:
        service = inference_service(f"http://127.0.0.1:{port}")
        assert reachable_url(client, service, "space") is None


def test_a_node_port() -> None:
    with answering(ENGINE) as port:
        ports = [{"port": 8080, "nodePort": port}]
        with cluster_with(service("NodePort", ports)) as client:
            url = reachable_url(client, inference_service(), "space")
    assert url == f"http://127.0.0.1:{port}"


def test_a_load_balancer_goes_before_its_node_port() -> None:
    with answering(ENGINE) as port:
        ports = [{"port": port, "nodePort": free_port()}]
        status = {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}
        with cluster_with(service("LoadBalancer", ports, **status)) as client:
            url = reachable_url(client, inference_service(), "space")
    assert url == f"http://127.0.0.1:{port}"


def test_anothers_service_is_left_alone() -> None:
    with answering(ENGINE) as port:
        other = service("NodePort", [{"port": 8080, "nodePort": port}])
        other["metadata"]["ownerReferences"] = [{"uid": "another"}]
        with cluster_with(other) as client:
            assert reachable_url(client, inference_service(), "space") is None


def test_an_api_server_that_refuses_is_no_error() -> None:
    with answering({}) as port:
        configuration = Configuration(host=f"http://127.0.0.1:{port}")
        configuration.proxy = None
        assert reachable_url(ApiClient(configuration), inference_service(), "space") is None
