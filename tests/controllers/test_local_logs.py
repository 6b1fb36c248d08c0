"""What a local engine prints, as it is passed on and kept."""

from __future__ import annotations

from pathlib import Path

from controllers.base import DeploymentRequest
from tests.controllers.conftest import Lines, wait_for, wait_while_starting
from tests.controllers.local_engines import scripted


def test_odd_output_is_passed_on_readable(
    request_: DeploymentRequest, lines: Lines, tmp_path: Path
) -> None:
    controller = scripted(
        tmp_path,
        r"""
        out = lambda data: os.write(1, data)
        out(b"bad \xff\xfe bytes\n")
        out(b"10%\r50%\r100%\r\n")
        out(b"\n")
        out(b"y" * 300_000 + b"\nafter\n")
        os.write(2, b"last words without a newline")
        sys.exit(3)
        """,
    )
    deployment = controller.deploy(request_, lines)
    failure = wait_while_starting(controller, deployment).failure
    log = controller.recent_log(deployment)
    controller.delete(deployment)

    assert lines.seen == log
    assert log[:2] == ["bad \ufffd\ufffd bytes", "100%"]
    assert log[2].startswith("yyyy")
    assert len(log[2]) < 5_000
    assert log[3:] == ["after", "last words without a newline"]
    assert failure is not None
    assert failure.message.startswith("llamacpp exited with code 3")


def test_a_sink_that_fails_does_not_stop_the_engine(
    request_: DeploymentRequest, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("disk full")

    controller = scripted(tmp_path, "print('one'); print('two'); time.sleep(60)")
    deployment = controller.deploy(request_, broken)
    wait_for(lambda: controller.recent_log(deployment) == ["one", "two"])
    controller.delete(deployment)
