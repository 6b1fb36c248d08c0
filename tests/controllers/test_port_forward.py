"""The port-forward carries every byte, whatever either side does."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus

import pytest
from kubernetes.client import ApiClient, Configuration

from controllers.cluster import forward
from controllers.cluster.forward import PortForward
from tests.controllers.port_forward_server import FakeApiServer, free_port


@pytest.fixture
def api() -> Iterator[FakeApiServer]:
    with FakeApiServer().running() as server:
        yield server


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets and, once the client has ended, `bye`."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)
        self.request.sendall(b"bye")


class AnswerAndHangUp(socketserver.BaseRequestHandler):
    """Reads one line, sends two megabytes and closes at once."""

    def handle(self) -> None:
        self.request.makefile("rb").readline()
        self.request.sendall(b"x" * 2_000_000)


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    socketserver.ThreadingTCPServer.request_queue_size = 256
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def forward_to(api: FakeApiServer, said: list[str]) -> Iterator[Callable[..., PortForward]]:
    forwards: list[PortForward] = []

    def start(pod: Callable[[], str | None], token: str | None = None) -> PortForward:
        configuration = Configuration(host=api.url)
        configuration.proxy = None
        if token:
            configuration.api_key = {"authorization": f"Bearer {token}"}
        client = ApiClient(configuration)
        forwards.append(PortForward(client, "space", pod, 8080, free_port(), said.append))
        return forwards[-1]

    yield start
    for one in forwards:
        one.close()


def connect(forward: PortForward) -> socket.socket:
    return socket.create_connection(("127.0.0.1", forward.local_port), timeout=30)


def received(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length and (chunk := connection.recv(1 << 20)):
        data += chunk
    return bytes(data)


def received_until_the_end(connection: socket.socket) -> bytes:
    return received(connection, 1 << 40)


def eventually(condition: Callable[[], bool], patience_s: float = 10) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_bytes_come_back_as_they_were_sent(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    data = os.urandom(8_000_000)
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        with closing(connect(forward_to(lambda: "pod-1"))) as connection:
            sender = threading.Thread(target=connection.sendall, args=(data,))
            sender.start()
            assert received(connection, len(data)) == data
            sender.join()
    assert api.paths == ["/api/v1/namespaces/space/pods/pod-1/portforward?ports=8080"]


def test_credentials_are_sent(api: FakeApiServer, forward_to: Callable[..., PortForward]) -> None:
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        with closing(connect(forward_to(lambda: "pod-1", token="secret"))) as connection:
            connection.sendall(b"a")
            assert received(connection, 1) == b"a"
    assert api.tokens == ["Bearer secret"]


def test_many_connections_at_once(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        forward = forward_to(lambda: "pod-1")

        def exchange(number: int) -> bool:
            data = f"{number} ".encode() * 1000
            with closing(connect(forward)) as connection:
                connection.sendall(data)
                return received(connection, len(data)) == data

        with ThreadPoolExecutor(100) as threads:
            assert all(threads.map(exchange, range(300)))
    assert len(api.paths) == 300


def test_a_client_that_has_ended_its_sending_still_gets_the_answer(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    with serving(AnswerAndHangUp) as port:
        api.pods["pod-1"] = port
        with closing(connect(forward_to(lambda: "pod-1"))) as connection:
            connection.sendall(b"please\n")
            connection.shutdown(socket.SHUT_WR)
            assert len(received_until_the_end(connection)) == 2_000_000


def test_a_pod_that_hangs_up_at_once_loses_nothing(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    with serving(AnswerAndHangUp) as port:
        api.pods["pod-1"] = port
        with closing(connect(forward_to(lambda: "pod-1"))) as connection:
            connection.sendall(b"please\n")
            # A slow reader: most is still under way when the pod hangs up.
            assert eventually(lambda: not api.connections)
            assert len(received_until_the_end(connection)) == 2_000_000


def test_a_client_that_is_gone_is_given_up(
    api: FakeApiServer,
    forward_to: Callable[..., PortForward],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forward, "_SILENCE_AFTER_END_S", 0.2)
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        connection = connect(forward_to(lambda: "pod-1"))
        connection.sendall(b"a")
        assert received(connection, 1) == b"a"
        assert len(api.connections) == 1
        connection.close()
        assert eventually(lambda: not api.connections)


def test_the_next_connection_finds_the_next_pod(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    pods = ["pod-1"]
    with serving(Echo) as first, serving(AnswerAndHangUp) as second:
        api.pods.update({"pod-1": first, "pod-2": second})
        forward = forward_to(lambda: pods[0])
        with closing(connect(forward)) as connection:
            connection.sendall(b"a")
            assert received(connection, 1) == b"a"
            pods[0] = "pod-2"
            with closing(connect(forward)) as other:
                other.sendall(b"please\n")
                assert len(received_until_the_end(other)) == 2_000_000
            connection.sendall(b"b")
            assert received(connection, 1) == b"b"


def test_a_pod_that_is_gone_is_looked_for_again(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    names = iter(["pod-1", "pod-2", "pod-2"])
    with serving(Echo) as port:
        api.pods["pod-2"] = port
        with closing(connect(forward_to(lambda: next(names)))) as connection:
            connection.sendall(b"a")
            assert received(connection, 1) == b"a"


def test_an_api_server_that_is_busy_is_asked_again(
    api: FakeApiServer, forward_to: Callable[..., PortForward], said: list[str]
) -> None:
    api.refusals = [HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INTERNAL_SERVER_ERROR]
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        with closing(connect(forward_to(lambda: "pod-1"))) as connection:
            connection.sendall(b"a")
            assert received(connection, 1) == b"a"
    assert said == []


def assert_broken_off(connection: socket.socket) -> None:
    with closing(connection), suppress(ConnectionResetError):
        assert connection.recv(1) == b""


def test_a_missing_right_is_said_once_and_not_tried_again(
    api: FakeApiServer, forward_to: Callable[..., PortForward], said: list[str]
) -> None:
    api.refusals = [HTTPStatus.FORBIDDEN] * 2
    forward = forward_to(lambda: "pod-1")
    for _ in range(2):
        assert_broken_off(connect(forward))
    assert eventually(lambda: len(api.paths) == 2)
    assert said == ["port-forward: refused for a test"]


def test_without_a_pod_connections_are_broken_off(
    api: FakeApiServer, forward_to: Callable[..., PortForward], said: list[str]
) -> None:
    assert_broken_off(connect(forward_to(lambda: None)))
    assert said == ["port-forward: there is no pod to reach"]
    assert api.paths == []


def test_a_port_on_which_nothing_listens_breaks_the_connection_off(
    api: FakeApiServer, forward_to: Callable[..., PortForward], said: list[str]
) -> None:
    api.pods["pod-1"] = free_port()
    forward = forward_to(lambda: "pod-1")
    assert_broken_off(connect(forward))
    assert "error forwarding port" in said[0]
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        with closing(connect(forward)) as connection:
            connection.sendall(b"a")
            assert received(connection, 1) == b"a"


def test_it_goes_on_after_every_connection_broke(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        forward = forward_to(lambda: "pod-1")
        with closing(connect(forward)) as connection:
            connection.sendall(b"a")
            assert received(connection, 1) == b"a"
            api.break_connections()
            assert_broken_off(connection)
        with closing(connect(forward)) as connection:
            connection.sendall(b"b")
            assert received(connection, 1) == b"b"


def test_closing_ends_everything(
    api: FakeApiServer, forward_to: Callable[..., PortForward]
) -> None:
    with serving(Echo) as port:
        api.pods["pod-1"] = port
        forward = forward_to(lambda: "pod-1")
        thread = forward._thread
        connections = [connect(forward) for _ in range(20)]
        for connection in connections:
            connection.sendall(b"a")
            assert received(connection, 1) == b"a"
        forward.close()
        forward.close()
        assert not thread.is_alive()
        for connection in connections:
            assert_broken_off(connection)
        with pytest.raises(ConnectionRefusedError):
            connect(forward)
        assert eventually(lambda: not api.connections)


def test_a_taken_port_is_an_error(api: FakeApiServer) -> None:
    threads = threading.active_count()
    client = ApiClient(Configuration(host=api.url))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            PortForward(client, "space", lambda: "pod-1", 8080, port, print)
    assert threading.active_count() == threads
