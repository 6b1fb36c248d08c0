"""What doctor says of the cluster where there is none; tests/cluster has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from controllers.cluster.rights import Purpose
from controllers.registry import DeploymentModeUnavailable
from tuning import composition
from tuning.domain.names import DeploymentMode
from tuning.preview import mode_refusal
from tuning.system import check_cluster
from tuning.system.check import CheckState

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: there
clusters: [{name: there, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: there, context: {cluster: there, user: me}}]
users: [{name: me, user: {token: secret}}]
"""


@pytest.fixture(autouse=True)
def nothing_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Of a cluster that does not answer."""
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


def test_without_a_cluster_only_one_line_says_so() -> None:
    found = check_cluster.kubernetes()
    assert (found.state, found.detail[:14]) == (CheckState.WARNING, "not configured")
    others = [check_cluster.ome(), *(check_cluster.rights(one) for one in Purpose)]
    assert {one.state for one in others} == {CheckState.OK}
    assert {one.detail for one in others} == {check_cluster.NOT_LOOKED_AT}


def test_a_cluster_that_happens_to_be_there_need_not_answer(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    found = check_cluster.kubernetes()
    assert found.state is CheckState.WARNING
    assert "127.0.0.1:1" in found.detail
    assert check_cluster.rights(Purpose.ENGINES).state is CheckState.WARNING


def test_a_cluster_that_the_settings_name_has_to(settings: Settings, kubeconfig: Path) -> None:
    settings.AUTOTUNER_CLUSTER = {**settings.AUTOTUNER_CLUSTER, "kubeconfig": str(kubeconfig)}
    assert check_cluster.kubernetes().state is CheckState.MISSING


def test_a_kubeconfig_that_is_none_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    settings.AUTOTUNER_CLUSTER = {
        **settings.AUTOTUNER_CLUSTER,
        "kubeconfig": str(tmp_path / "nowhere"),
    }
    found = check_cluster.kubernetes()
    assert found.state is CheckState.MISSING
    assert str(tmp_path / "nowhere") in found.detail


def test_every_purpose_has_a_line() -> None:
    names = {probe.name for probe in check_cluster.CLUSTER_PROBES}
    assert {f"right to {purpose}" for purpose in Purpose} <= names


def test_the_mode_is_refused_without_asking_anybody() -> None:
    with pytest.raises(DeploymentModeUnavailable, match="names one, and this is no pod of one"):
        composition.build_controller(DeploymentMode.OME)
    refusal = mode_refusal(DeploymentMode.OME)
    assert refusal is not None
    assert "needs a Kubernetes cluster" in refusal


@pytest.mark.django_db
def test_taking_back_goes_on_without_a_cluster_and_with_one_that_is_away(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert composition.take_back().engines == ()
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert composition.take_back().engines == ()
