"""A cluster whose connections break: nothing is lost, and an engine's end is still told."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from controllers.base import EngineState
from controllers.cluster import engine_watch
from controllers.ome import OmeController
from tests.cluster.deployments import Place, failure_of, place, ready, refusal_of
from tests.cluster.relay import Relay
from tests.controllers.conftest import wait_for
from tuning.domain.failures import FailureKind

__all__ = ["place"]

LINES = 3_000


@pytest.fixture
def relay(place: Place) -> Iterator[Relay]:
    with Relay(place.cluster.url) as relay:
        yield relay


@pytest.fixture
def controller(place: Place, relay: Relay) -> OmeController:
    return place.controller(relay.kubeconfig(place.cluster.kubeconfig))


def test_with_connections_that_break_all_the_time_it_gets_ready_and_every_line_comes_once(
    place: Place, relay: Relay, controller: OmeController
) -> None:
    deployment = place.deploy(controller, place.request(loading_s=1.5, print_lines=LINES))
    for _ in range(15):
        relay.tear()
        time.sleep(0.1)
    ready(controller, deployment)
    wait_for(lambda: f"INFO: line {LINES - 1}" in place.lines.seen)
    numbered = [line for line in place.lines.seen if re.fullmatch(r"INFO: line \d+", line)]
    assert numbered == [f"INFO: line {number}" for number in range(LINES)]


def test_an_end_during_a_short_absence_is_told_afterwards(
    place: Place, relay: Relay, controller: OmeController
) -> None:
    deployment = place.deploy(controller, place.request(die_after_s=1.5))
    ready(controller, deployment)
    relay.go_away()
    name = deployment.identity.name
    labels = f"ome.io/inferenceservice={name}"

    def restarts() -> int:
        (pod,) = place.cluster.all("Pod", place.namespace, labels)
        return int(pod["status"]["containerStatuses"][0]["restartCount"])

    wait_for(lambda: restarts() > 0)
    assert controller.exit_failure(deployment) is None
    relay.come_back()
    failure = failure_of(controller, deployment)
    assert failure.kind is FailureKind.CRASHED
    assert "dies as it was told" in failure.message


def test_a_long_absence_is_a_failure_of_the_cluster(
    place: Place, relay: Relay, controller: OmeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_watch, "AWAY_S", 1.0)
    deployment = place.deploy(controller)
    ready(controller, deployment)
    relay.go_away()
    failure = failure_of(controller, deployment)
    assert failure.kind is FailureKind.CLUSTER_UNAVAILABLE
    assert relay.url in failure.message
    refusal = refusal_of(lambda: controller.delete(deployment))
    assert refusal.kind is FailureKind.CLUSTER_UNAVAILABLE
    # As the sweep does once the cluster is back.
    relay.come_back()
    controller.delete_orphan(deployment.identity)
    assert controller.status(deployment).state is EngineState.EXITED
    assert place.cluster.left_in(place.namespace) == []
