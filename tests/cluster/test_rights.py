"""With exactly the rights of docs/ome-rbac.yaml everything works, and without one it is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes import config as kubernetes_config
from pytest_django import Settings

from controllers.base import DeploymentIdentity, DeploymentRequest, EngineState, LogSink
from controllers.cluster.benchmark_job import BenchmarkJob
from controllers.cluster.rights import RIGHTS, Purpose, missing_rights, ome_kinds
from controllers.cluster.settings import ClusterSettings
from controllers.ome import OmeController
from tests.cluster.cluster import Cluster
from tests.cluster.engines import claim, lay_tokenizer, plan
from tests.cluster.objects import MODEL, RUNTIME
from tests.cluster.test_benchmark_job import finish
from tests.controllers.rbac_file import rules_of
from tests.services import wait_until
from tuning.domain.cluster_names import JOB_MODEL_NAME
from tuning.domain.names import EngineName, LogSource
from tuning.system import check_cluster
from tuning.system.check import CheckState

pytestmark = pytest.mark.slow


@pytest.fixture
def kubeconfig(cluster: Cluster, namespace: str) -> Path:
    """Of a user with the Role and the catalogue's ClusterRole, and none of the extras."""
    rules, catalogue = rules_of("autotuner"), rules_of("autotuner-catalogue")
    return cluster.kubeconfig_for(f"tuner-{namespace}", namespace, rules, catalogue)


def test_the_file_grants_all_that_is_not_an_extra(namespace: str, kubeconfig: Path) -> None:
    client = kubernetes_config.new_client_from_config(str(kubeconfig))
    missing = missing_rights(client, namespace)
    assert [right for right in missing if right.purpose is not Purpose.EXTRAS] == []
    assert missing == [right for right in RIGHTS if right.purpose is Purpose.EXTRAS]
    assert missing_rights(client, "elsewhere", [RIGHTS[0]]) == [RIGHTS[0]]


def test_the_administrator_lacks_nothing(cluster: Cluster, namespace: str) -> None:
    assert missing_rights(cluster.client, namespace) == []


def test_omes_kinds_are_found_without_any_right(cluster: Cluster, namespace: str) -> None:
    client = kubernetes_config.new_client_from_config(
        str(cluster.kubeconfig_for(f"nobody-{namespace}", namespace, []))
    )
    found = ome_kinds(client)
    assert (found.versions, found.missing) == (("v1beta1",), ())


def test_with_these_rights_an_engine_is_run_and_measured_by_a_job(
    cluster: Cluster,
    namespace: str,
    kubeconfig: Path,
    tmp_path: Path,
    tokenizers: Path,
) -> None:
    """Deployed, watched, reached, measured in the cluster, its results read, removed."""
    lines: list[tuple[LogSource, str]] = []

    def log(source: LogSource, line: str) -> None:
        lines.append((source, line))

    sink: LogSink = log
    lay_tokenizer(cluster, tokenizers)
    claim(cluster, namespace, "results")
    settings = ClusterSettings(kubeconfig=str(kubeconfig))
    controller = OmeController(settings, tmp_path, namespaces=lambda: [namespace])
    request = DeploymentRequest(
        identity=DeploymentIdentity("rights", 1, 1, 1),
        engine=EngineName.SGLANG,
        model=MODEL,
        served_model_name=JOB_MODEL_NAME,
        parameters={},
        namespace=namespace,
        runtime=RUNTIME,
    )
    assert controller.check(request) is None
    deployment = controller.deploy(request, sink)
    try:
        wait_until(
            lambda: controller.status(deployment).state is EngineState.READY, "the engine", 60
        )
        reached = controller.status(deployment).deployment or deployment
        run = BenchmarkJob(settings, "pvc://results/a/b").start(
            reached, plan(), tmp_path / "work", sink
        )
        try:
            results = finish(run)
        finally:
            run.stop()
        assert run.failure is None
        assert len(results) == len(plan().points())
        assert controller.list_deployments("rights") == [request.identity]
        assert any(source is LogSource.ENGINE for source, _ in lines)
    finally:
        controller.delete(deployment)
    assert cluster.left_in(namespace) == []


@pytest.fixture
def doctor_of(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    def use(kubeconfig: Path, namespace: str) -> None:
        settings.AUTOTUNER_CLUSTER = {**settings.AUTOTUNER_CLUSTER, "kubeconfig": str(kubeconfig)}
        monkeypatch.setattr(check_cluster, "DEFAULT_NAMESPACE", namespace)

    return use


@pytest.mark.django_db
def test_doctor_names_what_is_missing(
    cluster: Cluster,
    namespace: str,
    kubeconfig: Path,
    doctor_of: Callable[[Path, str], None],
) -> None:
    doctor_of(kubeconfig, namespace)
    assert "v1.20" in check_cluster.kubernetes().detail
    assert check_cluster.ome().detail == "ome.io v1beta1"
    needed = [purpose for purpose in Purpose if purpose is not Purpose.EXTRAS]
    found = [check_cluster.rights(purpose) for purpose in needed]
    assert {one.state for one in found} == {CheckState.OK}
    extras = check_cluster.rights(Purpose.EXTRAS)
    assert extras.state is CheckState.WARNING
    assert "create namespaces, get namespaces, get nodes, list nodes" in extras.detail

    rules = [rule for rule in rules_of("autotuner") if rule["resources"] != ["pods/portforward"]]
    doctor_of(cluster.kubeconfig_for(f"less-{namespace}", namespace, rules), namespace)
    reach = check_cluster.rights(Purpose.REACH)
    assert reach.state is CheckState.MISSING
    assert reach.detail == (
        f"missing in {namespace}: create pods/portforward, get pods/portforward"
    )
    catalogue = check_cluster.rights(Purpose.CATALOGUE)
    assert "list clusterbasemodels.ome.io" in catalogue.detail
    assert "docs/ome-rbac.yaml" in catalogue.hint


def test_a_right_is_said_as_kubectl_says_it() -> None:
    assert str(dataclasses.replace(RIGHTS[0])) == "create inferenceservices.ome.io"
