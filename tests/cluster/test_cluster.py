"""The test cluster itself: what other tests build on."""

from __future__ import annotations

import pytest
from kubernetes import client, config

from tests.cluster.api import Document, Refused
from tests.cluster.cluster import Cluster
from tests.cluster.crds import FULL_FOLDER, full_crds, reduced_crds
from tests.cluster.looking import log_of, request_through, wait_until_ready
from tests.cluster.objects import inference_service
from tests.services import wait_until


def test_a_service_becomes_ready_answers_and_leaves_nothing(
    cluster: Cluster, namespace: str
) -> None:
    cluster.create(inference_service(namespace, "one", "--parallel", "3", "--print-lines", "5"))
    pod = wait_until_ready(cluster, namespace, "one")
    assert '"id": "fake"' in request_through(cluster, pod, "/v1/models")

    lines = log_of(cluster, pod)
    assert lines[0] == "INFO: loading /mnt/models/fake-model"
    assert "slots=3" in lines[1]
    assert lines[2:7] == [f"INFO: line {number}" for number in range(5)]
    assert len(log_of(cluster, pod, tail_lines=1)) == 1

    cluster.delete("InferenceService", "one", namespace)
    wait_until(lambda: not cluster.left_in(namespace), "the end of all objects", 30)
    assert cluster.pod_processes(namespace) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1-service", 'invalid InferenceService name "1-service"'),
        ("Capital", "a lowercase RFC 1123 subdomain"),
    ],
)
def test_names_are_refused_as_by_ome(
    cluster: Cluster, namespace: str, name: str, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        cluster.create(inference_service(namespace, name))


def test_a_field_of_a_wrong_type_is_refused(cluster: Cluster, namespace: str) -> None:
    document = inference_service(namespace, "one")
    document["spec"]["engine"]["runner"]["args"] = [1e3]
    with pytest.raises(Refused, match=r"spec\.engine\.runner\.args") as refused:
        cluster.create(document)
    assert refused.value.status == 422


def test_a_user_has_the_rights_that_are_granted_and_no_others(
    cluster: Cluster, namespace: str
) -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    kubeconfig = cluster.kubeconfig_for("reader", namespace, [rule])
    with config.new_client_from_config(str(kubeconfig)) as theirs:
        core = client.CoreV1Api(theirs)
        assert core.list_namespaced_pod(namespace).items == []
        with pytest.raises(client.ApiException) as refused:
            core.list_namespaced_service(namespace)
    assert refused.value.status == 403


SAME = ("type", "enum", "default", "pattern", "required", "x-kubernetes-int-or-string")


@pytest.mark.skipif(not FULL_FOLDER.is_dir(), reason="OME's own definitions are not here")
def test_the_reduced_definitions_agree_with_omes_own() -> None:
    full = {one["metadata"]["name"]: one for one in full_crds()}
    differing = []
    for ours in reduced_crds():
        theirs = full[ours["metadata"]["name"]]
        assert ours["spec"]["scope"] == theirs["spec"]["scope"]
        differing += differences(schema_of(ours), schema_of(theirs), ours["spec"]["names"]["kind"])
    assert differing == []


def schema_of(definition: Document) -> Document:
    (version,) = (one for one in definition["spec"]["versions"] if one["name"] == "v1beta1")
    schema: Document = version["schema"]["openAPIV3Schema"]
    return schema


def differences(ours: Document, theirs: Document, path: str) -> list[str]:
    """Where our schema says something else than theirs; what it leaves out does not count."""
    open_end = ours.get("x-kubernetes-preserve-unknown-fields", False)
    words = ("type",) if open_end else SAME
    found = [
        f"{path}: {word}: {ours.get(word)!r}, not {theirs.get(word)!r}"
        for word in words
        if word in ours or word in theirs
        if comparable(ours.get(word)) != comparable(theirs.get(word))
    ]
    for name, part in ours.get("properties", {}).items():
        if name not in theirs.get("properties", {}):
            found.append(f"{path}.{name}: OME has no such field")
        else:
            found += differences(part, theirs["properties"][name], f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(ours.get(inner), dict):
            found += differences(ours[inner], theirs.get(inner, {}), f"{path}.{inner}")
    return found


def comparable(value: object) -> object:
    return sorted(value, key=str) if isinstance(value, list) else value
