"""The supervisor over tiny real programs."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from controllers.processes import is_alive
from tuning.serving.services import Service, child_environment
from tuning.serving.supervisor import Console, Supervisor
from tuning.serving.unit import RestartPolicy, ServiceBroken, Unit

QUICK = RestartPolicy(first_pause_s=0.1, longest_pause_s=0.4, start_timeout_s=5)
STUBBORN = RestartPolicy(first_pause_s=0.1, longest_pause_s=0.4, attempts_to_start=100)

NOTES_ITS_END = """
import signal, sys, time
def end(*_):
    print(name + " ends", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print(name + " runs", flush=True)
time.sleep(600)
"""


class Watched:
    """A supervisor that runs in the main thread and what it prints."""

    def __init__(self, *services: Service, policy: RestartPolicy = QUICK) -> None:
        self.stream = io.StringIO()
        self.recorded: list[list[tuple[int, float]]] = []
        console = Console(self.stream, width=5)
        self.supervisor = Supervisor(services, console, self.recorded.append, policy)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def run_until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Run, and press Ctrl-C as soon as `condition` holds."""
        held: list[bool] = []

        def watch() -> None:
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline and not (held or over.is_set()):
                if condition():
                    held.append(True)
                time.sleep(0.02)
            if not over.is_set():
                os.kill(os.getpid(), signal.SIGINT)

        over = threading.Event()
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.supervisor.run()
        finally:
            over.set()
            watcher.join()
        assert held, self.text

    def positions(self, *texts: str) -> list[int]:
        for text in texts:
            assert text in self.text, self.text
        return [self.text.index(text) for text in texts]


def service(name: str, code: str, **options: object) -> Service:
    return Service(
        name=name,
        command=[sys.executable, "-c", f"name = {name!r}\n{code}"],
        environment=child_environment(),
        **options,  # type: ignore[arg-type]
    )


def test_they_start_in_order_and_stop_in_the_reverse_order(tmp_path: Path) -> None:
    gate = tmp_path / "ready"
    opens_late = f"import time, pathlib; time.sleep(0.5); pathlib.Path({str(gate)!r}).touch()"
    watched = Watched(
        service("one", f"{opens_late}\n{NOTES_ITS_END}", ready=gate.exists, announcement="hello"),
        service("two", NOTES_ITS_END),
    )
    watched.run_until(lambda: "one runs" in watched.text and "two runs" in watched.text)
    positions = watched.positions("serve | hello", "two   | two runs", "two ends", "one ends")
    assert positions == sorted(positions)
    assert [len(processes) for processes in watched.recorded] == [1, 2]


def test_a_death_is_said_with_its_code_and_last_lines_and_followed_by_a_restart(
    tmp_path: Path,
) -> None:
    died_once = tmp_path / "died"
    dies_once = f"""
import pathlib, sys
if not pathlib.Path({str(died_once)!r}).exists():
    pathlib.Path({str(died_once)!r}).touch()
    print("something is wrong")
    sys.exit(7)
"""
    watched = Watched(service("frail", f"{dies_once}\n{NOTES_ITS_END}"))
    watched.run_until(lambda: "frail runs" in watched.text)
    assert "frail ended by itself with exit code 7. Its last lines:" in watched.text
    assert "serve |     something is wrong" in watched.text
    assert "frail is started again in 0.1 s." in watched.text


def test_the_pause_doubles_up_to_the_longest_and_each_death_is_told() -> None:
    watched = Watched(service("frail", "raise SystemExit(3)"), policy=STUBBORN)
    watched.run_until(lambda: watched.text.count("started again in 0.4 s") >= 2)
    positions = watched.positions("again in 0.1 s", "again in 0.2 s", "again in 0.4 s")
    assert positions == sorted(positions)


def test_after_good_health_the_pause_begins_anew() -> None:
    healthy_at_once = RestartPolicy(first_pause_s=0.1, healthy_after_s=0.0, attempts_to_start=100)
    watched = Watched(service("frail", "raise SystemExit(3)"), policy=healthy_at_once)
    watched.run_until(lambda: watched.text.count("started again in 0.1 s") >= 3)
    assert "0.2 s" not in watched.text


def test_a_kill_is_named_and_what_the_program_had_started_goes_too(tmp_path: Path) -> None:
    note = tmp_path / "child"
    starts_another = f"""
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(note)!r}).write_text(str(child.pid))
os.kill(os.getpid(), 9)
"""
    watched = Watched(service("frail", starts_another))
    watched.run_until(lambda: "frail was killed by SIGKILL" in watched.text)
    # Where nobody reaps orphans, as in many a container, a zombie of it stays.
    pid = int(note.read_text())
    assert not psutil.pid_exists(pid) or not is_alive(psutil.Process(pid))


def test_what_never_comes_up_is_given_up_and_the_others_are_stopped() -> None:
    watched = Watched(
        service("one", NOTES_ITS_END),
        service("never", "raise SystemExit('no such module')", ready=lambda: False),
        service("three", NOTES_ITS_END),
    )
    with pytest.raises(ServiceBroken, match=r"never ended .* code 1. Its last lines:\n.*no such m"):
        watched.supervisor.run()
    assert "one ends" in watched.text
    assert "three" not in watched.text


def test_what_does_not_answer_in_time_is_ended_and_given_up() -> None:
    hasty = RestartPolicy(first_pause_s=0.1, start_timeout_s=0.3, attempts_to_start=1)
    watched = Watched(service("mute", NOTES_ITS_END, ready=lambda: False), policy=hasty)
    with pytest.raises(ServiceBroken, match=r"mute did not answer within 0\.3 s"):
        watched.supervisor.run()
    assert not psutil.pid_exists(watched.recorded[0][0][0])


def test_a_program_that_can_not_be_run_is_named() -> None:
    missing = Service("gone", ["/no/such/program"], child_environment())
    with pytest.raises(ServiceBroken, match=r"gone can't be started: /no/such/program: No such"):
        Watched(missing).supervisor.run()


def test_what_does_not_listen_is_killed_after_its_patience() -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(600)"
    watched = Watched(service("stone", deaf, patience_s=0.3))
    started = time.monotonic()
    watched.run_until(lambda: "stone | deaf" in watched.text)
    assert time.monotonic() - started < 10
    assert "stone did not stop within 0.3 s and is killed." in watched.text
    assert not psutil.pid_exists(watched.recorded[0][0][0])


def test_its_files_go_with_a_program_and_noise_is_not_shown(tmp_path: Path) -> None:
    left = tmp_path / "socket"
    code = f"open({str(left)!r}, 'w'); print('boring news'); print('news', flush=True)"
    watched = Watched(service("x", f"{code}\n{NOTES_ITS_END}", files=(left,), noise=("boring",)))
    watched.run_until(lambda: "x runs" in watched.text)
    assert "x     | news" in watched.text
    assert "boring" not in watched.text
    assert not left.exists()


class BrokenStream(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError


def test_a_reader_that_has_gone_stops_nobody() -> None:
    console = Console(BrokenStream(), 5)
    console.write("one", "hello")
    unit = Unit(service("one", NOTES_ITS_END), QUICK, pytest.fail, console.writer("one"))
    assert unit.look()
    time.sleep(0.2)
    assert not unit.look()
    unit.stop()
