"""What goes wrong in a cluster is provoked for real, and told in its own words, soon.

"Soon" is ten seconds after the cluster has been asked, where a time-out would be a minute or more.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.installation import Document
from tests.cluster.objects import serving_runtime
from tests.e2e.conftest import Installation as CommandLine
from tests.services import wait_until

pytestmark = pytest.mark.slow

SOON_S = 10.0
RIGHTS = Path(__file__).resolve().parents[2] / "docs" / "ome-rbac.yaml"


@pytest.fixture
def one_configuration(fake_task: Document) -> Document:
    """One experiment, in a runtime of the namespace's own with the name `own`."""
    fake_task["parameters"] = {"tp-size": [1], "max-running-requests": 4}
    fake_task["ome"]["runtime"] = "own"
    return fake_task


def use_runtime(cluster: Cluster, namespace: str, *flags: str, **runner: Any) -> None:
    cluster.create(serving_runtime(namespace, "own", *flags, **runner))


def failure_of(
    cluster: Cluster, namespace: str, command_line: CommandLine, document: Document
) -> Document:
    """Run the task; the failure of its only experiment, once it is there."""
    process = command_line.start(command_line.task_file(document), "--json")
    wait_until(
        lambda: cluster.all("InferenceService", namespace) or process.poll() is not None,
        "the cluster to be asked",
        60,
    )
    deadline = time.monotonic() + SOON_S
    while command_line.statuses() != ["FAILED"]:
        assert time.monotonic() < deadline, (command_line.statuses(), cluster.left_in(namespace))
        time.sleep(0.05)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stdout + stderr
    (experiment,) = json.loads(stdout)["experiments"]
    failure: Document = experiment["failure"]
    return failure


@pytest.fixture(autouse=True)
def no_runtime_left(cluster: Cluster, namespace: str, command_line: CommandLine) -> Any:
    """The runtime that a test made goes before what is left is looked at."""
    yield
    cluster.delete("ServingRuntime", "own", namespace)
    wait_until(
        lambda: cluster.get("ServingRuntime", "own", namespace) is None, "the runtime's end", 10
    )


def test_more_gpus_than_any_node_has(
    cluster: Cluster, namespace: str, command_line: CommandLine, one_configuration: Document
) -> None:
    use_runtime(cluster, namespace)
    one_configuration["parameters"]["tp-size"] = [16]
    failure = failure_of(cluster, namespace, command_line, one_configuration)
    assert failure["kind"] == "too_few_gpus"
    assert "Insufficient nvidia.com/gpu" in failure["message"]


def test_an_image_that_can_not_be_pulled(
    cluster: Cluster, namespace: str, command_line: CommandLine, one_configuration: Document
) -> None:
    use_runtime(cluster, namespace, image="nobody/has:this")
    failure = failure_of(cluster, namespace, command_line, one_configuration)
    assert failure["kind"] == "image_missing"
    assert "nobody/has:this" in failure["message"]


@pytest.mark.parametrize(
    ("flags", "kind", "words"),
    [
        (("--die-at-start", "3"), "crashed", "the fake engine was told to die"),
        (("--out-of-memory",), "out_of_memory", "CUDA out of memory"),
        (("--no-such-flag",), "bad_flag", "unrecognized arguments: --no-such-flag"),
    ],
)
def test_an_engine_that_dies_at_its_start(
    cluster: Cluster,
    namespace: str,
    command_line: CommandLine,
    one_configuration: Document,
    flags: tuple[str, ...],
    kind: str,
    words: str,
) -> None:
    use_runtime(cluster, namespace, *flags)
    failure = failure_of(cluster, namespace, command_line, one_configuration)
    assert failure["kind"] == kind
    assert any(words in line for line in failure["log_tail"])


def test_a_container_that_takes_more_memory_than_it_may(
    cluster: Cluster, namespace: str, command_line: CommandLine, one_configuration: Document
) -> None:
    limits = {"limits": {"memory": "100Mi"}}
    use_runtime(cluster, namespace, "--eat-memory-mib", "400", resources=limits)
    failure = failure_of(cluster, namespace, command_line, one_configuration)
    assert failure["kind"] == "out_of_memory"
    assert "OOMKilled" in failure["message"]


def test_a_runtime_of_which_no_pod_can_be_made(
    cluster: Cluster, namespace: str, command_line: CommandLine, one_configuration: Document
) -> None:
    mounts = [{"name": "nowhere", "mountPath": "/x"}]
    use_runtime(cluster, namespace, volumeMounts=mounts)
    failure = failure_of(cluster, namespace, command_line, one_configuration)
    assert failure["kind"] == "invalid_spec"
    assert "volumeMounts[0].name: Not found" in failure["message"]


def test_a_model_that_does_not_load(
    cluster: Cluster, namespace: str, command_line: CommandLine, one_configuration: Document
) -> None:
    use_runtime(cluster, namespace, command=["no-such-program"])
    failure = failure_of(cluster, namespace, command_line, one_configuration)
    assert "no-such-program" in failure["message"]


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "inferenceservices"), ("watch", "pods"), ("get", "pods/portforward")],
)
def test_a_right_that_is_missing(
    cluster: Cluster,
    namespace: str,
    command_line: CommandLine,
    one_configuration: Document,
    verb: str,
    resource: str,
) -> None:
    use_runtime(cluster, namespace)
    own, of_cluster = rights_without(verb, resource)
    user = f"without-{verb}-{resource.replace('/', '-')}"
    kubeconfig = cluster.kubeconfig_for(user, namespace, own, of_cluster)
    command_line.env["AUTOTUNER_KUBECONFIG"] = str(kubeconfig)
    failure = failure_of(cluster, namespace, command_line, one_configuration)
    assert failure["kind"] == "forbidden"
    assert verb in failure["message"]
    assert resource in failure["message"]
    assert namespace in failure["message"]


def test_the_documented_rights_suffice(
    cluster: Cluster, namespace: str, command_line: CommandLine, one_configuration: Document
) -> None:
    use_runtime(cluster, namespace)
    kubeconfig = cluster.kubeconfig_for("tuner", namespace, *rights_without("", ""))
    command_line.env["AUTOTUNER_KUBECONFIG"] = str(kubeconfig)
    done = command_line.run(command_line.task_file(one_configuration), "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def rights_without(verb: str, resource: str) -> tuple[list[Document], list[Document]]:
    """The rules of docs/ome-rbac.yaml, in a namespace and in the cluster, but for one right."""
    found: dict[str, list[Document]] = {"Role": [], "ClusterRole": []}
    for document in yaml.safe_load_all(RIGHTS.read_text()):
        for rule in document.get("rules", []) if document["kind"] in found else []:
            for one in rule["resources"]:
                verbs = [word for word in rule["verbs"] if (word, one) != (verb, resource)]
                if verbs:
                    found[document["kind"]].append({**rule, "resources": [one], "verbs": verbs})
    return found["Role"], found["ClusterRole"]
