"""The port-forward through a real API server, with its TLS and a node behind it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.engines import engine_pod, reached, running_service
from tests.services import wait_until

pytestmark = pytest.mark.slow


def chat(client: httpx.Client, url: str, words: int) -> httpx.Response:
    return client.post(
        f"{url}/v1/chat/completions",
        json={
            "model": "fake",
            "messages": [{"role": "user", "content": "hello " * words}],
            "max_tokens": 5,
        },
        timeout=30,
    )


def test_requests_reach_the_engine(cluster: Cluster, namespace: str) -> None:
    identity = running_service(cluster, namespace, "--parallel", "64")
    threads = threading.active_count()
    with (
        reached(cluster, namespace, identity) as deployment,
        httpx.Client(trust_env=False, limits=httpx.Limits(max_connections=64)) as client,
        ThreadPoolExecutor(64) as pool,
    ):
        assert client.get(f"{deployment.base_url}/v1/models").json()["data"]
        # Two megabytes in all, over connections that are kept and shared.
        answers = pool.map(lambda _: chat(client, deployment.base_url, 2000), range(200))
        assert {answer.status_code for answer in answers} == {200}
    wait_until(lambda: threading.active_count() <= threads, "the end of its threads")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{deployment.base_url}/v1/models", trust_env=False)


def test_a_pod_in_anothers_place_is_found(cluster: Cluster, namespace: str) -> None:
    identity = running_service(cluster, namespace)
    with reached(cluster, namespace, identity) as deployment, httpx.Client(trust_env=False) as http:
        assert http.get(f"{deployment.base_url}/v1/models").status_code == 200
        first = engine_pod(cluster, namespace, identity.name)
        assert first is not None
        cluster.delete("Pod", first, namespace)

        def answers() -> bool:
            try:
                return http.get(f"{deployment.base_url}/v1/models").status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(
            lambda: engine_pod(cluster, namespace, identity.name) not in {None, first},
            "another pod",
            60,
        )
        wait_until(answers, "an answer of the other pod", 60)
