"""Local engines that a killed autotuner left, found by record or mark and removed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from controllers.base import DeploymentIdentity, DeploymentRequest
from controllers.engine_records import identity_of
from tests.controllers.conftest import INSTANCE, PORT_RANGE, Lines, wait_for
from tests.controllers.local_engines import is_gone, pid_of, scripted

CRASHING_AUTOTUNER = """
import os, sys
from pathlib import Path
from controllers.base import DeploymentIdentity, DeploymentRequest
from tests.controllers.local_engines import scripted
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


def test_a_name_leads_back_to_its_identity() -> None:
    for instance in ("a", "my-host-t1-e2"):
        identity = DeploymentIdentity(instance, 12, 3, 4)
        assert identity_of(identity.name) == identity
    assert identity_of("something-else") is None
