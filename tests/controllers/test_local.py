"""The local controller with the real engine."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest

from controllers.base import DeploymentError, DeploymentRequest, EngineState
from controllers.local import LocalController
from controllers.ports import can_bind
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_for, wait_while_starting
from tests.controllers.local_engines import ScriptEngine, is_gone, pid_of, port_of
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue


@pytest.fixture
def controller(tmp_path: Path, sample_model: Path) -> LocalController:
    return LocalController(tmp_path, sample_model.parent, PORT_RANGE)


def with_flags(request: DeploymentRequest, **flags: FlagValue) -> DeploymentRequest:
    return dataclasses.replace(request, parameters={**request.parameters, **flags})


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
