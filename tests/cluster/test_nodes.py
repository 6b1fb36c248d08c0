"""FakeKubelet treats pods as a kubelet does, where the autotuner depends on it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.api import Document
from tests.cluster.cluster import Cluster
from tests.cluster.images import FAKE_ENGINE_IMAGE, SHELL_IMAGE
from tests.cluster.looking import condition_of, log_of, warnings
from tests.cluster.pod_environment import expanded
from tests.services import wait_until


def pod(namespace: str, name: str, script: str, **spec: Any) -> Document:
    """A shell that runs a script once; `container` are further fields of its container."""
    container = {
        "name": "shell",
        "image": SHELL_IMAGE,
        "command": ["sh", "-c", script],
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def claim(namespace: str, name: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def run(cluster: Cluster, document: Document) -> tuple[Document, list[str]]:
    """A pod's status once it has ended, and what it printed."""
    cluster.create(document)
    namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
    ended = wait_for_pod(
        cluster, namespace, name, lambda one: one["status"]["phase"] in ("Succeeded", "Failed")
    )
    return ended["status"], log_of(cluster, ended)


def wait_for_pod(cluster: Cluster, namespace: str, name: str, condition: Any) -> Document:
    def there() -> bool:
        found = cluster.get("Pod", name, namespace)
        return bool(found and found.get("status") and condition(found))

    wait_until(there, f"pod {name}: {cluster.get('Pod', name, namespace)}", 30)
    found = cluster.get("Pod", name, namespace)
    assert found is not None
    return found


def state_of(document: Document) -> Document:
    statuses = document["status"].get("containerStatuses", [])
    state: Document = statuses[0]["state"] if statuses else {}
    return state


def waits_for(reason: str) -> Any:
    return lambda one: state_of(one).get("waiting", {}).get("reason") == reason


# --- Starting ---


def test_command_arguments_and_environment_are_kubernetes_own(
    cluster: Cluster, namespace: str
) -> None:
    container = {
        "command": ["sh", "-c", 'printf "%s\\n" "$@"', "sh", "$(FIRST)"],
        "args": ["$(SECOND)", "$$(FIRST)", "$(NONE)", "a b'\"", "$(POD)"],
        "env": [
            {"name": "FIRST", "value": "one"},
            {"name": "SECOND", "value": "$(FIRST) and two"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    }
    status, lines = run(cluster, pod(namespace, "shell", "", container=container))
    assert status["phase"] == "Succeeded"
    assert lines == ["one", "one and two", "$(FIRST)", "$(NONE)", "a b'\"", "shell"]


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)", "1"), ("$$", "$"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(B", "$(B"), ("$A", "$A")],
)
def test_expansion(text: str, result: str) -> None:
    assert expanded(text, {"A": "1"}) == result


def test_volumes_lie_where_the_pod_wants_them_and_outlive_it(
    cluster: Cluster, namespace: str
) -> None:
    cluster.create(claim(namespace, "results"))
    volumes = [
        {"name": "kept", "persistentVolumeClaim": {"claimName": "results"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "node", "hostPath": {"path": "/mnt/models"}},
    ]
    mounts = [
        {"name": "kept", "mountPath": "/some/new/place", "subPath": "folder"},
        {"name": "scratch", "mountPath": "/dev/shm"},
        {"name": "node", "mountPath": "/mnt/models", "readOnly": True},
    ]
    for root in cluster.node_file("/mnt/models"):
        root.mkdir(parents=True, exist_ok=True)
        (root / "weights").write_text("node's own")
    script = (
        "echo kept > /some/new/place/file; ls /dev/shm | wc -l; echo x > /dev/shm/x;"
        "cat /mnt/models/weights; touch /mnt/models/new || echo read-only"
    )
    status, lines = run(
        cluster,
        pod(namespace, "writer", script, volumes=volumes, container={"volumeMounts": mounts}),
    )
    assert status["phase"] == "Succeeded"
    assert lines[0] == "0"
    assert "node's own" in lines[1]
    assert lines[-1] == "read-only"
    reading = {"volumeMounts": [{"name": "kept", "mountPath": "/results"}]}
    script = "cd /results && find . -type f && cat folder/file"
    reader = pod(namespace, "reader", script, volumes=volumes[:1], container=reading)
    _, lines = run(cluster, reader)
    assert lines == ["./folder/file", "kept"]


def test_a_server_is_found_by_its_services_name(cluster: Cluster, namespace: str) -> None:
    engine = pod(namespace, "engine", "")
    engine["metadata"]["labels"] = {"app": "engine"}
    engine["spec"]["containers"][0] |= {
        "image": FAKE_ENGINE_IMAGE,
        "command": ["python3", "/server.py", "--host", "0.0.0.0", "--port", "8080"],
        "args": ["--model", "m", "--served-model-name", "m"],
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
    }
    cluster.create(engine)
    ports = [{"port": 80, "targetPort": "http"}]
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "engine", "namespace": namespace},
            "spec": {"selector": {"app": "engine"}, "ports": ports},
        }
    )
    wait_for_pod(cluster, namespace, "engine", lambda one: condition_of(one, "Ready") == "True")
    asking = (
        "import urllib.request, sys\n"
        f"for host in ('engine', 'engine.{namespace}.svc.cluster.local'):\n"
        "    print(urllib.request.urlopen(f'http://{host}/v1/models', timeout=5).status)"
    )
    container = {"image": FAKE_ENGINE_IMAGE, "command": ["python3", "-c", asking]}
    _, lines = run(cluster, pod(namespace, "client", "", container=container))
    assert lines == ["200", "200"]


# --- Failing ---


def test_an_unknown_image_backs_off(cluster: Cluster, namespace: str) -> None:
    cluster.create(pod(namespace, "bad", "", container={"image": "nobody/has:this"}))
    found = wait_for_pod(cluster, namespace, "bad", waits_for("ImagePullBackOff"))
    assert "nobody/has:this" in state_of(found)["waiting"]["message"]
    told = warnings(cluster, namespace, "Pod")
    assert any('Failed: Failed to pull image "nobody/has:this"' in one for one in told)


def test_a_container_that_dies_is_started_again_and_backs_off(
    cluster: Cluster, namespace: str
) -> None:
    document = pod(namespace, "dies", "echo last words; exit 3", restartPolicy="Always")
    cluster.create(document)
    found = wait_for_pod(cluster, namespace, "dies", waits_for("CrashLoopBackOff"))
    status = found["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert log_of(cluster, found, previous=True) == ["last words"]


def test_a_program_that_is_not_there_is_no_crash_of_it(cluster: Cluster, namespace: str) -> None:
    status, lines = run(cluster, pod(namespace, "none", "", container={"command": ["nope"]}))
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert 'exec: "nope": executable file not found in $PATH' in ended["message"]
    assert lines == []


def test_a_pod_ends_at_its_deadline(cluster: Cluster, namespace: str) -> None:
    status, _ = run(cluster, pod(namespace, "late", "sleep 60", activeDeadlineSeconds=1))
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_who_takes_too_much_memory_is_killed(cluster: Cluster, namespace: str) -> None:
    container = {
        "image": FAKE_ENGINE_IMAGE,
        "command": ["python3", "-c", "import time; x = b'1' * (200 << 20); time.sleep(60)"],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    status, _ = run(cluster, pod(namespace, "eater", "", container=container))
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_too_many_gpus_wait_with_the_schedulers_words(cluster: Cluster, namespace: str) -> None:
    container = {"resources": {"limits": {"nvidia.com/gpu": "9"}}}
    cluster.create(pod(namespace, "big", "", container=container))

    def unschedulable(one: Document) -> bool:
        conditions = one["status"].get("conditions", [])
        return any("Insufficient nvidia.com/gpu" in one.get("message", "") for one in conditions)

    wait_for_pod(cluster, namespace, "big", unschedulable)


# --- Ending ---


def test_a_stubborn_pod_is_killed_with_its_children_after_its_grace(
    cluster: Cluster, namespace: str
) -> None:
    script = "trap '' TERM; setsid sleep 300 & sleep 300 & echo started; wait; sleep 300"
    cluster.create(pod(namespace, "stubborn", script, terminationGracePeriodSeconds=1))
    found = wait_for_pod(cluster, namespace, "stubborn", lambda one: "running" in state_of(one))
    wait_until(lambda: log_of(cluster, found) == ["started"], "the script to start", 10)
    cluster.delete("Pod", "stubborn", namespace)
    wait_until(lambda: cluster.get("Pod", "stubborn", namespace) is None, "its end", 20)
    assert cluster.processes_of(found["metadata"]["uid"]) == []


def test_a_log_is_followed_until_the_container_ends(cluster: Cluster, namespace: str) -> None:
    script = "for i in 1 2 3; do echo $i; sleep 0.2; done"
    cluster.create(pod(namespace, "talks", script))
    found = wait_for_pod(cluster, namespace, "talks", lambda one: "running" in state_of(one))
    assert log_of(cluster, found, follow=True) == ["1", "2", "3"]
