"""An image is asked for its engine's flags once, by a real Docker engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from controllers.base import DeploymentError
from controllers.docker import DockerController
from controllers.engines.base import ContainerCommand
from controllers.image_help import PURPOSE_LABEL, ImageHelp
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_for
from tests.controllers.test_docker_conformance import DockerHarness, client
from tests.fake_engine.engine import FakeEngineKind
from tests.fake_engine.image import IMAGE, TAG
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName

__all__ = ["client"]

COMMAND = ContainerCommand(f"{IMAGE}:{TAG}", "python3", ())


class AskedEngine(FakeEngineKind):
    """FakeEngine, with the question that it understands."""

    help_arguments = (("/server.py", "--halp"), ("/server.py", "--help"))


class MuteEngine(FakeEngineKind):
    help_arguments = (("-c", "print('an image of something else')"),)


class SlowEngine(FakeEngineKind):
    help_arguments = (("-c", "print('  --port N', flush=True); import time; time.sleep(600)"),)


class HomelessEngine(FakeEngineKind):
    help_arguments = (("--help",),)


class Counted:
    """Docker's client, with how many containers were made by it."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self.made = 0
        self.containers = self

    def create(self, *arguments: Any, **keywords: Any) -> Any:
        self.made += 1
        return self._client.containers.create(*arguments, **keywords)


@pytest.fixture
def image(client: DockerClient) -> Any:
    return client.images.get(f"{IMAGE}:{TAG}")


def nothing_is_left(client: DockerClient) -> bool:
    """Docker takes a moment to remove a container that has ended."""
    filters: dict[str, str | list[str] | bool] = {"label": PURPOSE_LABEL}
    wait_for(lambda: not client.containers.list(all=True, filters=filters, ignore_removed=True))
    return True


def test_it_is_asked_once_and_the_answer_is_kept(
    client: DockerClient, image: Any, tmp_path: Path
) -> None:
    counted: Any = Counted(client)
    help_ = ImageHelp(tmp_path, INSTANCE)
    found = help_.help_of(counted, image, AskedEngine(), COMMAND)
    assert {"slots", "token-ms", "port", "tp-size"} <= set(found.flags)
    # The first question was not understood.
    assert counted.made == 2
    assert help_.help_of(counted, image, AskedEngine(), COMMAND) == found
    # Another process of this installation reads what is kept.
    assert ImageHelp(tmp_path, INSTANCE).help_of(counted, image, AskedEngine(), COMMAND) == found
    assert counted.made == 2
    assert nothing_is_left(client)


def test_kept_answers_that_cannot_be_read_are_asked_for_again(
    client: DockerClient, image: Any, tmp_path: Path
) -> None:
    counted: Any = Counted(client)
    found = ImageHelp(tmp_path, INSTANCE).help_of(counted, image, AskedEngine(), COMMAND)
    (kept,) = tmp_path.glob("*.json")
    for text in ("", "[]", '{"port": 1}'):
        kept.write_text(text)
        again = ImageHelp(tmp_path, INSTANCE).help_of(counted, image, AskedEngine(), COMMAND)
        assert again == found
    assert counted.made == 8


@pytest.mark.parametrize("engine", [MuteEngine(), FakeEngineKind()])
def test_an_image_that_does_not_answer_is_not_checked(
    engine: FakeEngineKind, client: DockerClient, image: Any, tmp_path: Path
) -> None:
    help_ = ImageHelp(tmp_path, INSTANCE)
    help_.check(client, image, engine, COMMAND, {"never-heard-of": 1})
    assert help_.help_of(client, image, engine, COMMAND).flags == {}
    assert list(tmp_path.iterdir()) == []
    assert nothing_is_left(client)


def test_a_program_that_is_not_there_is_no_answer(
    client: DockerClient, image: Any, tmp_path: Path
) -> None:
    command = dataclasses.replace(COMMAND, entrypoint="/no/such/program")
    found = ImageHelp(tmp_path, INSTANCE).help_of(client, image, HomelessEngine(), command)
    assert found.flags == {}
    assert nothing_is_left(client)


def test_an_engine_that_never_ends_is_ended(
    client: DockerClient, image: Any, tmp_path: Path
) -> None:
    ticks: list[int] = []
    help_ = ImageHelp(tmp_path, INSTANCE, time_limit_s=2)
    found = help_.help_of(client, image, SlowEngine(), COMMAND, lambda: ticks.append(1))
    assert set(found.flags) == {"port"}
    assert ticks
    assert nothing_is_left(client)


def test_whoever_waits_may_stop_waiting(client: DockerClient, image: Any, tmp_path: Path) -> None:
    help_ = ImageHelp(tmp_path, INSTANCE)

    def enough() -> None:
        raise InterruptedError("cancelled")

    with pytest.raises(InterruptedError):
        help_.help_of(client, image, SlowEngine(), COMMAND, enough)
    assert nothing_is_left(client)
    # The next one asks anew, and waits for nobody.
    assert "slots" in help_.help_of(client, image, AskedEngine(), COMMAND).flags


def test_a_flag_that_the_image_has_not_is_refused_before_it_is_started(
    client: DockerClient, tmp_path: Path, lines: Lines
) -> None:
    (tmp_path / "models" / "fake-model").mkdir(parents=True)
    engines = {EngineName.SGLANG: AskedEngine()}
    controller = DockerController(
        tmp_path, tmp_path / "models", INSTANCE, PORT_RANGE, engines, polite_s=1
    )
    harness = DockerHarness(controller, runtime_dir=tmp_path, client=client)
    with pytest.raises(DeploymentError) as refused:
        controller.deploy(harness.request(token_msec=3), lines)
    failure = refused.value.failure
    assert failure.kind is FailureKind.BAD_FLAG
    assert "--token-msec" in failure.message
    assert 'did you mean "token-ms"' in failure.message
    assert controller.list_deployments(INSTANCE) == []
    deployment = controller.deploy(harness.request(token_ms=3), lines)
    assert "--token-ms" in deployment.command
    controller.delete(deployment)
