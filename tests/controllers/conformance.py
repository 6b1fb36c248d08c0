"""What every controller promises, whatever runs its engines. Override the fixture `harness`."""

from __future__ import annotations

import dataclasses
import itertools
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from controllers.base import (
    Controller,
    Deployment,
    DeploymentIdentity,
    DeploymentRequest,
    EngineState,
    EngineStatus,
)
from tests.controllers.conftest import INSTANCE, Lines, wait_for, wait_while_starting
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue

_numbers = itertools.count(1)


@dataclass
class Harness(ABC):
    """A place where FakeEngine can be deployed.

    `controller` is the one under test; `another_controller` is what the next process would make
    over the same place, which knows nothing but what is there.
    """

    controller: Controller
    deployed: list[DeploymentIdentity] = field(default_factory=list)

    @abstractmethod
    def another_controller(self) -> Controller:
        """As after a crash: no memory, the same place."""

    @abstractmethod
    def running_names(self) -> list[str]:
        """Names of the engines that really run, asked without the controller."""

    @abstractmethod
    def kill_engine(self, deployment: Deployment) -> None:
        """Kill it from outside, as the kernel would."""

    def request(self, instance: str = INSTANCE, /, **flags: FlagValue) -> DeploymentRequest:
        identity = DeploymentIdentity(instance, 7, next(_numbers), 1)
        return self.request_for(identity, **flags)

    def request_for(self, identity: DeploymentIdentity, **flags: FlagValue) -> DeploymentRequest:
        self.deployed.append(identity)
        return DeploymentRequest(
            identity=identity,
            engine=EngineName.SGLANG,
            model="fake-model",
            served_model_name="fake",
            parameters={name.replace("_", "-"): value for name, value in flags.items()},
        )

    def clear(self) -> None:
        controller = self.another_controller()
        for identity in self.deployed:
            self.controller.delete_orphan(identity)
            controller.delete_orphan(identity)


def answer_of(deployment: Deployment) -> int:
    with httpx.Client(trust_env=False, timeout=5) as client:
        return client.get(f"{deployment.base_url}/v1/models").status_code


class ControllerConformance(ABC):
    """Each test deploys a real process; `wait_for` bounds every wait."""

    @pytest.fixture
    @abstractmethod
    def harness(self) -> Iterator[Harness]: ...

    @pytest.fixture
    def deploy(self, harness: Harness, lines: Lines) -> Callable[..., Deployment]:
        def deploy(**flags: FlagValue) -> Deployment:
            return harness.controller.deploy(harness.request(**flags), lines)

        return deploy

    def settle(self, harness: Harness, deployment: Deployment) -> EngineStatus:
        return wait_while_starting(harness.controller, deployment)

    # --- Its life ---

    def test_it_gets_ready_and_answers(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy(loading_s=0.3)
        assert harness.controller.status(deployment).state is EngineState.STARTING
        assert self.settle(harness, deployment).state is EngineState.READY
        assert harness.controller.exit_failure(deployment) is None
        assert answer_of(deployment) == 200

    def test_its_output_reaches_the_log_line_by_line(
        self, harness: Harness, deploy: Callable[..., Deployment], lines: Lines
    ) -> None:
        deployment = deploy(print_lines=200)
        self.settle(harness, deployment)
        wait_for(lambda: "INFO: line 199" in lines.seen)
        numbered = [line for line in lines.seen if re.fullmatch(r"INFO: line \d+", line)]
        assert numbered == [f"INFO: line {number}" for number in range(200)]
        assert "INFO: line 199" in harness.controller.recent_log(deployment)

    def test_an_engine_that_is_never_ready_stays_starting(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy(never_ready=True)
        time.sleep(1.0)
        assert harness.controller.status(deployment).state is EngineState.STARTING
        assert harness.controller.exit_failure(deployment) is None

    # --- Its death ---

    @pytest.mark.parametrize(
        ("flags", "kind", "words"),
        [
            ({"die_at_start": 3}, FailureKind.CRASHED, "told to die"),
            ({"out_of_memory": True}, FailureKind.OUT_OF_MEMORY, "CUDA out of memory"),
            ({"no_such_flag": 1}, FailureKind.BAD_FLAG, "unrecognized arguments"),
        ],
    )
    def test_dying_at_the_start_is_classified_with_its_last_lines(
        self,
        harness: Harness,
        deploy: Callable[..., Deployment],
        flags: dict[str, FlagValue],
        kind: FailureKind,
        words: str,
    ) -> None:
        deployment = deploy(**flags)
        status = self.settle(harness, deployment)
        assert status.state is EngineState.EXITED
        assert status.failure is not None
        assert status.failure.kind is kind
        assert words in status.failure.message
        assert any(words in line for line in harness.controller.recent_log(deployment))

    def test_dying_later_is_noticed_without_asking_the_engine(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy(die_after_s=1.5)
        assert self.settle(harness, deployment).state is EngineState.READY
        wait_for(lambda: harness.controller.exit_failure(deployment) is not None)
        failure = harness.controller.exit_failure(deployment)
        assert failure is not None
        assert failure.kind is FailureKind.CRASHED

    def test_a_kill_from_outside_is_noticed(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy()
        self.settle(harness, deployment)
        harness.kill_engine(deployment)
        wait_for(lambda: harness.controller.exit_failure(deployment) is not None)
        assert harness.controller.status(deployment).state is EngineState.EXITED

    # --- Its end ---

    def test_deleting_leaves_nothing_and_twice_is_no_error(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy()
        self.settle(harness, deployment)
        assert harness.running_names() == [deployment.identity.name]
        harness.controller.delete(deployment)
        assert harness.running_names() == []
        assert harness.controller.list_deployments(INSTANCE) == []
        harness.controller.delete(deployment)
        with pytest.raises(httpx.TransportError):
            answer_of(deployment)

    def test_it_can_be_deleted_while_it_starts(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy(never_ready=True)
        harness.controller.delete(deployment)
        assert harness.running_names() == []

    def test_a_stubborn_engine_is_killed_with_its_children(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy(ignore_sigterm=True, spawn_child=True)
        self.settle(harness, deployment)
        harness.controller.delete(deployment)
        assert harness.running_names() == []

    def test_a_dead_engine_is_removed_too(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy(die_at_start=1)
        self.settle(harness, deployment)
        harness.controller.delete(deployment)
        assert harness.another_controller().list_deployments(INSTANCE) == []

    # --- After a crash of ours ---

    def test_the_next_process_finds_and_removes_what_was_left(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        deployment = deploy()
        self.settle(harness, deployment)
        successor = harness.another_controller()
        assert successor.list_deployments(INSTANCE) == [deployment.identity]
        successor.delete_orphan(deployment.identity)
        assert harness.running_names() == []
        assert successor.list_deployments(INSTANCE) == []

    def test_deploying_again_replaces_what_a_crash_left(
        self, harness: Harness, deploy: Callable[..., Deployment], lines: Lines
    ) -> None:
        first = deploy()
        self.settle(harness, first)
        successor = harness.another_controller()
        second = successor.deploy(harness.request_for(first.identity), lines)
        assert wait_while_starting(successor, second).state is EngineState.READY
        assert harness.running_names() == [first.identity.name]
        successor.delete(second)
        assert harness.running_names() == []

    # --- Whose it is ---

    def test_an_instance_sees_its_own_engines_alone(self, harness: Harness, lines: Lines) -> None:
        ours = harness.controller.deploy(harness.request(), lines)
        theirs = harness.controller.deploy(harness.request("another"), lines)
        assert harness.controller.list_deployments(INSTANCE) == [ours.identity]
        assert harness.controller.list_deployments("another") == [theirs.identity]

    def test_attempts_of_one_experiment_are_told_apart(
        self, harness: Harness, lines: Lines
    ) -> None:
        first = harness.controller.deploy(harness.request(), lines)
        second = dataclasses.replace(first.identity, attempt=2)
        again = harness.controller.deploy(harness.request_for(second), lines)
        harness.controller.delete(first)
        assert harness.running_names() == [again.identity.name]

    def test_a_name_and_labels_are_valid_everywhere(self, harness: Harness) -> None:
        identity = harness.request().identity
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", identity.name)
        assert all(re.fullmatch(r"[\w.-]{1,63}", value) for value in identity.labels.values())

    # --- Several ---

    def test_deployments_at_once_get_ports_of_their_own(
        self, harness: Harness, lines: Lines
    ) -> None:
        requests = [harness.request(loading_s=0.2) for _ in range(4)]
        deployments: list[Deployment] = []

        def deploy(request: DeploymentRequest) -> None:
            deployments.append(harness.controller.deploy(request, lines))

        threads = [threading.Thread(target=deploy, args=[one]) for one in requests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({one.base_url for one in deployments}) == len(requests)
        for one in deployments:
            assert self.settle(harness, one).state is EngineState.READY
            assert answer_of(one) == 200

    def test_a_port_is_free_again_after_its_engine(
        self, harness: Harness, deploy: Callable[..., Deployment]
    ) -> None:
        urls = set()
        for _ in range(3):
            deployment = deploy()
            urls.add(deployment.base_url)
            harness.controller.delete(deployment)
        assert len(urls) == 1

    # --- Before anything is launched ---

    def test_the_command_line_can_be_shown_without_launching(self, harness: Harness) -> None:
        command = harness.controller.command_line(harness.request(slots=3))
        assert command[command.index("--slots") + 1] == "3"
        assert harness.running_names() == []

    def test_nothing_stands_in_the_way_of_a_good_request(self, harness: Harness) -> None:
        assert harness.controller.check(harness.request()) is None
