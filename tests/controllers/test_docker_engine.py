"""Reading a Docker engine: a real one where one answers, and every way of not answering."""

from __future__ import annotations

import io
import shutil
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker import APIClient
from docker.errors import NotFound
from docker.types import DeviceRequest

from controllers import docker_engine
from controllers.base import DeploymentIdentity
from controllers.docker_engine import (
    INSTANCE_LABEL,
    DockerEngine,
    DockerUnavailable,
    ForeignContainer,
    NoSuchContainer,
    docker_address,
)
from tests.docker.engine import skip
from tests.docker_stand_in import docker_stand_in

IMAGE = "autotuner-tests:1"
OURS = DeploymentIdentity(instance="test0ours", task_id=17, experiment_id=204, attempt=1)
FOREIGN = DeploymentIdentity(instance="test0foreign", task_id=5, experiment_id=6, attempt=1)

PRINTS = "echo to stdout; echo to stderr >&2; exec sleep 60"
ENDS_WHEN_ASKED = "trap 'exit 0' TERM; sleep 60 & wait"
IGNORES_SIGNALS = "trap '' TERM; while true; do sleep 1; done"

Run = Callable[..., str]


def test_the_label_is_the_one_that_engines_are_started_with() -> None:
    assert OURS.labels[INSTANCE_LABEL] == OURS.instance


# --- Nobody answers ---


@pytest.mark.parametrize(
    ("address", "reason", "hint"),
    [
        ("unix:///no/such.sock", "No such file or directory", "Start Docker"),
        ("tcp://127.0.0.1:1", "Connection refused", "Start Docker"),
        ("tcp://no-such-host.invalid:2375", "not known|resolution", "docker info"),
        ("tcp://127.0.0.1:port", "Port", "docker info"),
        ("ssh://user@127.0.0.1:1", ".", "ssh -L"),
        ("nonsense", "nonsense", "docker info"),
    ],
)
def test_no_engine_is_told_with_a_reason_and_a_hint(address: str, reason: str, hint: str) -> None:
    with pytest.raises(DockerUnavailable, match=reason) as caught:
        DockerEngine(address).containers()
    assert hint in caught.value.hint


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def _address(server: socket.socket) -> str:
    return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_an_engine_that_never_answers_is_given_up_in_time(listener: socket.socket) -> None:
    began = time.monotonic()
    with pytest.raises(DockerUnavailable, match="no answer within 2 s"):
        DockerEngine(_address(listener)).containers()
    assert time.monotonic() - began < 3


def test_an_engine_that_answers_a_letter_at_a_time_is_given_up_too(
    listener: socket.socket,
) -> None:
    """Each letter would be within the time limit for one read."""
    stopped = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            while not stopped.wait(0.2):
                connection.sendall(b"H")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    with pytest.raises(DockerUnavailable, match="no answer within 2 s"):
        DockerEngine(_address(listener)).containers()
    assert time.monotonic() - began < 3
    stopped.set()
    thread.join()


def test_something_else_that_speaks_http_is_no_engine(tmp_path: Path) -> None:
    with docker_stand_in(tmp_path) as engine:
        engine.answer = lambda method, path: (200, ["hello"])  # type: ignore[method-assign]
        with pytest.raises(DockerUnavailable):
            DockerEngine(engine.address).containers()


def test_a_container_that_is_removed_meanwhile_is_not_listed(tmp_path: Path) -> None:
    with docker_stand_in(tmp_path) as engine:
        engine.containers = {"here": OURS.labels, "gone": OURS.labels}
        answer = engine.answer

        def without_one(method: str, path: str) -> tuple[int, object]:
            return (404, {"message": "gone"}) if "gone" in path else answer(method, path)

        engine.answer = without_one  # type: ignore[method-assign]
        assert [one.name for one in DockerEngine(engine.address).containers()] == ["here"]


# --- A real engine ---


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    address = docker_address()
    if address is None:
        skip("no Docker engine here: neither DOCKER_HOST nor a socket of Docker")
    engine = DockerEngine(address)
    try:
        engine.version()
    except DockerUnavailable as error:
        skip(f"no Docker engine at {address}: {error}")
    return engine


@pytest.fixture(scope="module")
def client(engine: DockerEngine) -> Iterator[APIClient]:
    """With an image of its own, so that no registry is needed."""
    busybox = Path(shutil.which("busybox") or "/no/busybox")
    # A linked one names its loader right behind its headers.
    if not busybox.exists() or b"/ld-" in busybox.read_bytes()[:4096]:
        skip("no statically linked busybox to make an image of")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as image:
        image.add(busybox, "bin/busybox")
        for name in ("sh", "sleep", "echo"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            image.addfile(link)
    client = APIClient(base_url=engine.address, version="auto")
    client.import_image_from_data(archive.getvalue(), *IMAGE.split(":"))
    yield client
    client.remove_image(IMAGE, force=True)
    client.close()


@pytest.fixture
def run(client: APIClient) -> Iterator[Run]:
    """`run("name", "script", labels)`: the id of a started container."""
    started: list[str] = []

    def run(name: str, script: str, labels: dict[str, str] | None = None) -> str:
        host = client.create_host_config(network_mode="none")
        made = client.create_container(
            IMAGE, ["/bin/sh", "-c", script], name=name, labels=labels, host_config=host
        )
        started.append(made["Id"])
        client.start(made["Id"])
        return str(made["Id"])

    yield run
    for one in started:
        try:
            client.remove_container(one, force=True)
        except NotFound:
            continue


def _is_running(client: APIClient, one: str) -> bool:
    return bool(client.inspect_container(one)["State"]["Running"])


def test_only_containers_of_autotuners_are_listed(engine: DockerEngine, run: Run) -> None:
    ours = run(OURS.name, PRINTS, OURS.labels)
    foreign = run(FOREIGN.name, PRINTS, FOREIGN.labels)
    without = run("test0-without-labels", PRINTS)
    listed = {one.id: one for one in engine.containers()}
    assert {ours, foreign} <= listed.keys()
    assert without not in listed
    found = listed[ours]
    assert (found.name, found.image, found.state) == (OURS.name, IMAGE, "running")
    assert found.labels == OURS.labels
    assert found.status.startswith("Up")
    assert found.started_at is not None
    assert abs(found.started_at.timestamp() - time.time()) < 60


def test_an_ended_container_is_listed_with_its_exit_code(
    engine: DockerEngine, client: APIClient, run: Run
) -> None:
    client.wait(run(OURS.name, "exit 3", OURS.labels), timeout=20)
    found = engine.container(OURS.name)
    assert found.state == "exited"
    assert "(3)" in found.status
    assert engine.usage([found.id]) == {}


def test_gpus_that_were_asked_for_are_told(engine: DockerEngine, client: APIClient) -> None:
    asked = DeviceRequest(device_ids=["0", "2"], capabilities=[["gpu"]])
    host = client.create_host_config(device_requests=[asked])
    made = client.create_container(
        IMAGE, "true", name=OURS.name, labels=OURS.labels, host_config=host
    )
    try:
        assert engine.container(OURS.name).gpus == ("0", "2")
        assert engine.container(OURS.name).started_at is None
    finally:
        client.remove_container(made["Id"])


def test_the_log_has_the_last_lines_of_both_streams(engine: DockerEngine, run: Run) -> None:
    run(OURS.name, PRINTS, OURS.labels)
    deadline = time.monotonic() + 10
    while len(engine.log(OURS.name)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sorted(engine.log(OURS.name)) == ["to stderr", "to stdout"]
    assert len(engine.log(OURS.name, lines=1)) == 1


def test_what_a_container_uses_is_measured(engine: DockerEngine, run: Run) -> None:
    busy = run(OURS.name, "while true; do :; done", OURS.labels)
    first = engine.usage([busy])[busy]
    later = engine.usage([busy])[busy]
    assert later.read_at > first.read_at
    assert later.cpu_ns > first.cpu_ns
    assert later.memory_bytes
    assert 0 < later.memory_bytes < 1 << 30


def test_a_container_that_ends_when_asked_is_stopped_and_removed(
    engine: DockerEngine, client: APIClient, run: Run
) -> None:
    ours = run(OURS.name, ENDS_WHEN_ASKED, OURS.labels)
    engine.stop(OURS.name, OURS.instance)
    with pytest.raises(NotFound):
        client.inspect_container(ours)
    with pytest.raises(NoSuchContainer):
        engine.stop(OURS.name, OURS.instance)


def test_a_container_that_ignores_the_signal_is_killed(
    engine: DockerEngine, client: APIClient, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_engine, "GRACE_S", 1)
    ours = run(OURS.name, IGNORES_SIGNALS, OURS.labels)
    began = time.monotonic()
    engine.stop(OURS.name, OURS.instance)
    assert time.monotonic() - began >= 1
    with pytest.raises(NotFound):
        client.inspect_container(ours)


def test_what_is_not_ours_is_left_alone(engine: DockerEngine, client: APIClient, run: Run) -> None:
    foreign = run(FOREIGN.name, PRINTS, FOREIGN.labels)
    without = run("test0-without-labels", PRINTS)
    with pytest.raises(ForeignContainer):
        engine.stop(FOREIGN.name, OURS.instance)
    for name in ("test0-without-labels", without, without[:12]):
        with pytest.raises(NoSuchContainer):
            engine.stop(name, OURS.instance)
        with pytest.raises(NoSuchContainer):
            engine.log(name)
    assert _is_running(client, foreign)
    assert _is_running(client, without)
