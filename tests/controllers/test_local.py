"""The local controller with the real engine, and with engines that misbehave."""

from __future__ import annotations

import dataclasses
import http.server
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil
import pytest

from controllers.base import (
    Controller,
    Deployment,
    DeploymentError,
    DeploymentIdentity,
    DeploymentRequest,
    EngineState,
)
from controllers.docker import DockerController
from controllers.engine_records import identity_of
from controllers.engines.base import ContainerCommand, Engine, KnownFlag, LocalCommand
from controllers.local import LocalController, engine_environment, visible_cards
from controllers.ports import can_bind
from controllers.processes import MARK
from controllers.registry import ControllerSettings, DeploymentModeUnavailable, controller_for
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_for, wait_while_starting
from tuning.domain.failures import Failure, FailureKind
from tuning.domain.names import DeploymentMode, EngineName, FlagValue


class ScriptEngine(Engine):
    """An engine that is a few lines of Python, its port in `port`."""

    name = EngineName.LLAMACPP
    reserved_flags = frozenset({"port"})
    known_flags: Mapping[str, KnownFlag] = {}

    def __init__(self, script: str, program: str = sys.executable) -> None:
        self._script = textwrap.dedent(script)
        self._program = program

    def locate_model(self, model: str, models_dir: Path) -> str:
        return model

    def local_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
    ) -> LocalCommand:
        script = f"import os, signal, sys, time\nport = {port}\n{self._script}"
        return LocalCommand((self._program, "-c", script, *self.flags(parameters)))

    def container_command(
        self,
        model: str,
        served_model_name: str,
        host: str,
        port: int,
        parameters: Mapping[str, FlagValue],
        *others: str | None,
    ) -> ContainerCommand:
        raise NotImplementedError("only ever a process of this host")

    def missing(self) -> Failure | None:
        return None

    def version(self) -> str | None:
        return None


def scripted(runtime_dir: Path, script: str, polite_s: float = 0.3) -> LocalController:
    engines: Mapping[EngineName, Engine] = {EngineName.LLAMACPP: ScriptEngine(script)}
    return LocalController(runtime_dir, runtime_dir, PORT_RANGE, engines, polite_s)


@pytest.fixture
def controller(tmp_path: Path, sample_model: Path) -> LocalController:
    return LocalController(tmp_path, sample_model.parent, PORT_RANGE)


@pytest.fixture
def request_(identity: DeploymentIdentity) -> DeploymentRequest:
    return DeploymentRequest(
        identity=identity,
        engine=EngineName.LLAMACPP,
        model="SmolLM2-135M-Instruct.Q4_1.gguf",
        served_model_name="small",
        parameters={"ctx-size": 256, "threads": 1},
    )


def with_flags(request: DeploymentRequest, **flags: FlagValue) -> DeploymentRequest:
    return dataclasses.replace(request, parameters={**request.parameters, **flags})


def port_of(deployment: Deployment) -> int:
    return httpx.URL(deployment.base_url).port or 0


def pid_of(runtime_dir: Path, identity: DeploymentIdentity) -> int:
    return int(json.loads((runtime_dir / f"{identity.name}.json").read_text())["pid"])


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class TestRealEngine:
    """llama.cpp's embedded server with the sample model."""

    def test_it_gets_ready_logs_and_leaves_nothing(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines, tmp_path: Path
    ) -> None:
        deployment = controller.deploy(request_, lines)
        pid = pid_of(tmp_path, request_.identity)
        try:
            assert wait_while_starting(controller, deployment).state is EngineState.READY
            assert controller.exit_failure(deployment) is None
            assert controller.list_deployments(INSTANCE) == [request_.identity]
            assert controller.list_deployments("other") == []
        finally:
            before = time.monotonic()
            controller.delete(deployment)
        assert time.monotonic() - before < 1.0
        controller.delete(deployment)

        assert any("listening on" in line for line in lines.seen)
        assert is_gone(pid)
        assert can_bind(port_of(deployment))
        assert not list(tmp_path.glob("*.json"))
        assert controller.list_deployments(INSTANCE) == []
        assert controller.status(deployment).state is EngineState.EXITED

    def test_its_environment_makes_measurements_comparable(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines
    ) -> None:
        deployment = controller.deploy(request_, lines)
        controller.delete(deployment)

        assert deployment.environment["engine"] == "llamacpp"
        assert deployment.environment["engine_version"]
        assert deployment.environment["cpu_count"] == os.cpu_count()
        assert deployment.environment["memory_mib"] > 100

    def test_the_command_line_is_the_deployed_one_but_for_the_port(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines
    ) -> None:
        shown = controller.command_line(request_)
        deployment = controller.deploy(request_, lines)
        controller.delete(deployment)

        port = str(port_of(deployment))
        assert shown == tuple(
            str(PORT_RANGE[0]) if part == port else part for part in deployment.command
        )

    def test_a_bad_flag_is_known_at_once_with_the_engines_own_words(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines
    ) -> None:
        deployment = controller.deploy(with_flags(request_, bogus=1), lines)
        status = wait_while_starting(controller, deployment)
        log = controller.recent_log(deployment)
        controller.delete(deployment)

        assert status.state is EngineState.EXITED
        assert status.failure is not None
        assert status.failure.kind is FailureKind.BAD_FLAG
        assert "--bogus 1" in status.failure.message
        assert any("--bogus 1" in line for line in log)

    def test_a_failed_assertion_is_quoted(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines
    ) -> None:
        too_small = with_flags(request_, **{"batch-size": 32, "parallel": 256})
        deployment = controller.deploy(too_small, lines)
        failure = wait_while_starting(controller, deployment).failure
        controller.delete(deployment)

        assert failure is not None
        assert failure.kind is FailureKind.CRASHED
        assert "SIGABRT" in failure.message
        assert "GGML_ASSERT" in failure.message

    def test_a_killed_engine_is_noticed(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines, tmp_path: Path
    ) -> None:
        deployment = controller.deploy(request_, lines)
        wait_while_starting(controller, deployment)
        os.kill(pid_of(tmp_path, request_.identity), signal.SIGKILL)
        wait_for(lambda: controller.exit_failure(deployment) is not None, timeout_s=2)
        failure = controller.status(deployment).failure
        controller.delete(deployment)

        assert failure is not None
        assert failure.kind is FailureKind.OUT_OF_MEMORY
        assert "SIGKILL" in failure.message

    def test_two_at_once_get_two_ports(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines
    ) -> None:
        second = dataclasses.replace(
            request_, identity=dataclasses.replace(request_.identity, experiment_id=3)
        )
        deployments = [controller.deploy(one, lines) for one in (request_, second)]
        states = [wait_while_starting(controller, one).state for one in deployments]
        for one in deployments:
            controller.delete(one)

        assert states == [EngineState.READY, EngineState.READY]
        assert len({one.base_url for one in deployments}) == 2

    def test_a_port_that_is_taken_after_all_is_an_infrastructure_fault(
        self, controller: LocalController, request_: DeploymentRequest, lines: Lines, tmp_path: Path
    ) -> None:
        # The lock is ours and the port is free when it is leased; somebody takes it right after.
        taker = ScriptEngine(
            """
            print(f"error: port {port} on 127.0.0.1 is taken", file=sys.stderr)
            sys.exit(1)
            """
        )
        controller = LocalController(
            tmp_path, tmp_path, PORT_RANGE, {EngineName.LLAMACPP: taker}
        )  # fmt: skip
        deployment = controller.deploy(request_, lines)
        failure = wait_while_starting(controller, deployment).failure
        controller.delete(deployment)

        assert failure is not None
        assert failure.kind is FailureKind.PORT_TAKEN
        assert failure.kind.is_infrastructure_fault


def test_a_missing_model_is_told_before_anything_is_launched(
    controller: LocalController, request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    request = dataclasses.replace(request_, model="SmolLM2.gguf")

    failure = controller.check(request)
    assert failure is not None
    assert failure.kind is FailureKind.MODEL_MISSING
    assert "SmolLM2-135M-Instruct.Q4_1.gguf" in failure.message
    with pytest.raises(DeploymentError, match="no model file"):
        controller.deploy(request, lines)
    assert not list(tmp_path.glob("*.json"))
    assert controller.check(request_) is None


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
                os.write(1, b"still here\\n")
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


def test_odd_output_is_passed_on_readable(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    controller = scripted(
        tmp_path,
        r"""
        out = lambda data: os.write(1, data)
        out(b"bad \xff\xfe bytes\n")
        out(b"10%\r50%\r100%\r\n")
        out(b"\n")
        out(b"y" * 300_000 + b"\nafter\n")
        os.write(2, b"last words without a newline")
        sys.exit(3)
        """,
    )
    deployment = controller.deploy(request_, lines)
    failure = wait_while_starting(controller, deployment).failure
    log = controller.recent_log(deployment)
    controller.delete(deployment)

    assert lines.seen == log
    assert log[:2] == ["bad \ufffd\ufffd bytes", "100%"]
    assert log[2].startswith("yyyy")
    assert len(log[2]) < 5_000
    assert log[3:] == ["after", "last words without a newline"]
    assert failure is not None
    assert failure.message.startswith("llamacpp exited with code 3")


def test_a_sink_that_fails_does_not_stop_the_engine(
    request_: DeploymentRequest, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("disk full")

    controller = scripted(tmp_path, "print('one'); print('two'); time.sleep(60)")
    deployment = controller.deploy(request_, broken)
    wait_for(lambda: controller.recent_log(deployment) == ["one", "two"])
    controller.delete(deployment)


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


CRASHING_AUTOTUNER = """
import os, sys
from pathlib import Path
from controllers.base import DeploymentIdentity, DeploymentRequest
from tests.controllers.test_local import scripted
from tuning.domain.names import EngineName

identity = DeploymentIdentity(sys.argv[2], 1, 2, 1)
request = DeploymentRequest(identity, EngineName.LLAMACPP, "m", "m", {})
scripted(Path(sys.argv[1]), "time.sleep(60)").deploy(request, lambda source, line: None)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("record_is_lost", [False, True])
def test_the_orphan_of_a_killed_autotuner_is_found_and_removed(
    identity: DeploymentIdentity, tmp_path: Path, record_is_lost: bool
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", CRASHING_AUTOTUNER, str(tmp_path), INSTANCE], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    pid = pid_of(tmp_path, identity)
    assert not is_gone(pid)
    if record_is_lost:
        (tmp_path / f"{identity.name}.json").unlink()

    controller = scripted(tmp_path, "time.sleep(60)")
    assert controller.list_deployments(INSTANCE) == [identity]
    controller.delete_orphan(identity)
    controller.delete_orphan(identity)

    assert is_gone(pid)
    assert controller.list_deployments(INSTANCE) == []
    assert not list(tmp_path.glob("*.json"))


def test_orphans_that_lost_their_mark_and_their_leader_are_found_by_a_marked_sibling(
    identity: DeploymentIdentity, tmp_path: Path
) -> None:
    # As vLLM leaves behind: workers that overwrote their environment, and Python's own helper.
    note = tmp_path / "children"
    script = f"""
    import subprocess
    children = [subprocess.Popen(["sleep", "60"], env=env) for env in ({{}}, None)]
    with open({str(note)!r}, "w") as file:
        print(*(child.pid for child in children), file=file)
    time.sleep(60)
    """
    code = CRASHING_AUTOTUNER.replace('"time.sleep(60)"', repr(textwrap.dedent(script)))
    subprocess.run([sys.executable, "-c", code, str(tmp_path), INSTANCE], check=False)
    wait_for(lambda: note.exists() and note.read_text().endswith("\n"))
    children = [int(number) for number in note.read_text().split()]
    os.kill(pid_of(tmp_path, identity), signal.SIGKILL)

    controller = scripted(tmp_path, "")
    assert controller.list_deployments(INSTANCE) == [identity]
    controller.delete_orphan(identity)

    assert [is_gone(child) for child in children] == [True, True]


def test_deploying_again_replaces_what_a_crash_left(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-c", CRASHING_AUTOTUNER, str(tmp_path), INSTANCE], check=False)
    left = pid_of(tmp_path, request_.identity)
    controller = scripted(tmp_path, "time.sleep(60)")
    deployment = controller.deploy(request_, lines)
    assert is_gone(left)
    assert pid_of(tmp_path, request_.identity) != left
    controller.delete(deployment)


def test_a_record_whose_number_now_belongs_to_a_stranger_is_dropped_unsignalled(
    identity: DeploymentIdentity, tmp_path: Path
) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        started = psutil.Process(stranger.pid).create_time()
        record = {
            "identity": dataclasses.asdict(identity),
            "pid": stranger.pid,
            "start_time": started - 100,
            "port": PORT_RANGE[0],
            "command": ["sleep", "60"],
        }
        path = tmp_path / f"{identity.name}.json"
        controller = scripted(tmp_path, "")

        path.write_text(json.dumps(record), encoding="utf-8")
        assert controller.list_deployments(INSTANCE) == []
        assert not path.exists()

        path.write_text(json.dumps(record), encoding="utf-8")
        controller.delete_orphan(identity)
        assert not path.exists()

        assert stranger.poll() is None
        stranger.kill()


def test_unreadable_records_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f"autotuner-{INSTANCE}-t1-e1-a1.json").write_text("{", encoding="utf-8")

    assert scripted(tmp_path, "").list_deployments(INSTANCE) == []


def test_an_engine_gets_no_secrets_but_the_hubs_token() -> None:
    own = {
        "DJANGO_SETTINGS_MODULE": "x",
        "DATABASE_URL": "x",
        "MY_API_KEY": "x",
        "GITHUB_TOKEN": "x",
        "PASSWORD": "x",
        MARK: "x",
        "HF_TOKEN": "hf",
        "TOKENIZERS_PARALLELISM": "false",
        "PATH": "/bin",
    }

    assert engine_environment(own) == {
        "HF_TOKEN": "hf",
        "TOKENIZERS_PARALLELISM": "false",
        "PATH": "/bin",
        "PYTHONUNBUFFERED": "1",
    }


def test_a_name_leads_back_to_its_identity() -> None:
    for instance in ("a", "my-host-t1-e2"):
        identity = DeploymentIdentity(instance, 12, 3, 4)
        assert identity_of(identity.name) == identity
    assert identity_of("something-else") is None


def test_an_engine_sees_its_own_cards_alone() -> None:
    assert visible_cards((1, 3)) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1,3",
    }
    assert visible_cards(()) == {}


def test_the_registry_knows_two_modes_and_says_what_is_missing(tmp_path: Path) -> None:
    settings = ControllerSettings(tmp_path, tmp_path, "test")
    local: Controller = controller_for(DeploymentMode.LOCAL, settings)
    docker: Controller = controller_for(DeploymentMode.DOCKER, settings)

    assert isinstance(local, LocalController)
    assert isinstance(docker, DockerController)
    with pytest.raises(DeploymentModeUnavailable, match="ome"):
        controller_for(DeploymentMode.OME, settings)
