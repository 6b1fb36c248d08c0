"""What the port-forward costs: requests and bytes through it, and the same straight to the pod.

    .ci/with-kubernetes python -m benchmarks.port_forward

Against the tests' own cluster: a real API server, and behind it a stand-in for the kubelet that is
slower than a real one. So differences between releases count, not the numbers.
"""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

CONNECTIONS = 32
REQUESTS = 640
MEGABYTES = 64


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
    import django

    django.setup()
    from controllers.cluster.forward import PortForward
    from tests.cluster.cluster import running_cluster
    from tests.cluster.crds import reduced_crds
    from tests.cluster.engines import engine_pod, reached, running_service
    from tests.cluster.objects import BASE_MODEL, PORT, SERVING_RUNTIME
    from tests.controllers.port_forward_server import free_port

    with running_cluster(reduced_crds()) as cluster:
        cluster.create(BASE_MODEL)
        cluster.create(SERVING_RUNTIME)
        namespace = cluster.make_namespace("benchmark")
        identity = running_service(cluster, namespace, "--parallel", str(CONNECTIONS))
        pod = engine_pod(cluster, namespace, identity.name)
        assert pod is not None
        address = (cluster.get("Pod", pod, namespace) or {})["status"]["podIP"]
        with reached(cluster, namespace, identity) as deployment:
            for name, url in (
                ("straight", f"http://{address}:{PORT}"),
                ("forwarded", deployment.base_url),
            ):
                first_ms, rate = _requests(url)
                print(f"{name:10} first answer {first_ms:6.2f} ms, {rate:7.0f} requests/s")
        port = _sink(address)
        forward = PortForward(
            cluster.client, namespace, lambda: pod, port, free_port(), lambda line: None
        )
        try:
            print(f"straight   {_upload((address, port)):8.0f} MB/s")
            print(f"forwarded  {_upload(('127.0.0.1', forward.local_port)):8.0f} MB/s")
        finally:
            forward.close()
        cluster.remove_namespace(namespace)


def _requests(url: str) -> tuple[float, float]:
    """Median milliseconds of one GET on a kept connection, and GETs a second over many."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    with httpx.Client(trust_env=False, limits=limits, timeout=60) as client:
        client.get(f"{url}/v1/models").raise_for_status()
        alone = []
        for _ in range(50):
            started = time.perf_counter()
            client.get(f"{url}/v1/models")
            alone.append((time.perf_counter() - started) * 1000)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(lambda _: client.get(f"{url}/v1/models"), range(CONNECTIONS)))
            started = time.perf_counter()
            list(pool.map(lambda _: client.get(f"{url}/v1/models"), range(REQUESTS)))
            took_s = time.perf_counter() - started
    return statistics.median(alone), REQUESTS / took_s


def _sink(address: str) -> int:
    """The port of a server at the pod's address that reads everything and then says so."""
    listener = socket.create_server((address, 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            left = MEGABYTES << 20
            while left and (data := connection.recv(1 << 20)):
                left -= len(data)
            connection.sendall(b"!")
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _upload(place: tuple[str, int]) -> float:
    """Megabytes a second, over one connection."""
    data = os.urandom(1 << 20)
    with socket.create_connection(place, timeout=120) as connection:
        started = time.perf_counter()
        for _ in range(MEGABYTES):
            connection.sendall(data)
        assert connection.recv(1) == b"!"
        return MEGABYTES / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
