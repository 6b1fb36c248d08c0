"""Local engines that never listen, won't end, leave children behind or are not who answers."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import httpx
import pytest

from controllers.base import DeploymentError, DeploymentRequest, EngineState
from controllers.local import LocalController
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_for
from tests.controllers.local_engines import ScriptEngine, is_gone, pid_of, port_of, scripted
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName


def test_an_engine_that_never_listens_stays_starting(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    controller = scripted(tmp_path, "time.sleep(60)")
    deployment = controller.deploy(request_, lines)
    states = {controller.status(deployment).state for _ in range(3)}
    controller.delete(deployment)

    assert states == {EngineState.STARTING}


def test_a_stubborn_engine_is_killed(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    controller = scripted(
        tmp_path,
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready to ignore")
        time.sleep(60)
        """,
    )
    deployment = controller.deploy(request_, lines)
    wait_for(lambda: bool(lines.seen))
    pid = pid_of(tmp_path, request_.identity)
    controller.delete(deployment)

    assert is_gone(pid)


@pytest.mark.parametrize("leader_dies_first", [False, True])
@pytest.mark.parametrize("leaves_the_group", [False, True])
def test_grandchildren_go_too(
    request_: DeploymentRequest,
    lines: Lines,
    tmp_path: Path,
    leader_dies_first: bool,
    leaves_the_group: bool,
) -> None:
    controller = scripted(
        tmp_path,
        f"""
        pid = os.fork()
        if pid == 0:
            {"os.setsid()" if leaves_the_group else "pass"}
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                try:
                    os.write(1, b"still here\\n")
                except OSError:
                    pass  # nobody reads any more once the leader is gone
                time.sleep(0.01)
        os.write(1, b"child %d\\n" % pid)
        time.sleep({0.1 if leader_dies_first else 60})
        """,
    )
    deployment = controller.deploy(request_, lines)
    wait_for(lambda: any(line.startswith("child") for line in lines.seen))
    grandchild = int(next(line for line in lines.seen if line.startswith("child")).split()[1])
    if leader_dies_first:
        wait_for(lambda: controller.status(deployment).state is EngineState.EXITED)
        assert controller.list_deployments(INSTANCE) == [request_.identity]
    controller.delete(deployment)

    assert is_gone(grandchild)


def test_another_program_on_the_port_does_not_make_a_dead_engine_ready(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    script = """
    if os.fork():
        time.sleep(0.5)
        os._exit(1)
    import http.server
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(200)
            self.end_headers()
    http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
    """
    # The child keeps listening after its parent, the engine proper, has died.
    controller = scripted(tmp_path, script)
    deployment = controller.deploy(request_, lines)
    health = f"{deployment.base_url}/health"

    def answers() -> bool:
        try:
            return httpx.get(health, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    wait_for(lambda: controller.exit_failure(deployment) is not None and answers())
    status = controller.status(deployment)
    controller.delete(deployment)

    assert status.state is EngineState.EXITED
    assert not answers()


def test_another_program_on_the_port_does_not_make_a_silent_engine_ready(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    # As vLLM does: its port is bound at once, and listened on only when the model is loaded.
    script = """
    import socket
    early = socket.socket()
    early.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    early.bind(("127.0.0.1", port))
    print("bound", flush=True)
    time.sleep(60)
    """
    controller = scripted(tmp_path, script)
    deployment = controller.deploy(request_, lines)
    wait_for(lambda: controller.recent_log(deployment) == ["bound"])
    address = ("127.0.0.1", port_of(deployment))
    with http.server.HTTPServer(address, Healthy) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        status = controller.status(deployment)
        stranger.shutdown()
    controller.delete(deployment)

    assert status.state is EngineState.EXITED
    assert status.failure is not None
    assert status.failure.kind is FailureKind.PORT_TAKEN


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response_only(200)
        self.end_headers()


def test_a_program_that_cannot_be_run_leaves_no_port_and_no_record(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    engine = ScriptEngine("", program=str(tmp_path / "nowhere"))
    only = (PORT_RANGE[0], PORT_RANGE[0])
    controller = LocalController(tmp_path, tmp_path, only, {EngineName.LLAMACPP: engine})
    for _ in range(2):
        with pytest.raises(DeploymentError, match="nowhere can't be run") as caught:
            controller.deploy(request_, lines)
        assert caught.value.failure.kind is FailureKind.ENGINE_MISSING
    assert not list(tmp_path.glob("*.json"))
