"""The child process that a run talks with: its lines, and its end with all that it started."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from controllers.genai_bench.child import Child
from tests.controllers.genai_bench_runs import nothing_is_left, wait_for

__all__ = ["nothing_is_left"]


def running(command: list[str]) -> tuple[Child, list[str]]:
    lines: list[str] = []
    return Child(command, dict(os.environ), Path.cwd(), lines.append), lines


def test_what_outlives_its_leader_is_killed_too() -> None:
    child, lines = running(["bash", "-c", "sleep 60 & echo $!"])
    wait_for(lambda: child.exit_code == 0 and bool(lines), within_s=5)
    survivor = psutil.Process(int(lines[0]))
    assert survivor.is_running()
    child.kill()
    child.kill()
    wait_for(lambda: not survivor.is_running() or survivor.status() == "zombie", within_s=5)


def test_all_output_is_read_before_kill_returns() -> None:
    child, lines = running(["bash", "-c", "seq 2000; sleep 60"])
    wait_for(lambda: bool(lines), within_s=5)
    child.kill()
    assert lines == [str(number) for number in range(1, 2001)][: len(lines)]
    assert child.exit_code == -9


def test_a_child_hears_line_after_line() -> None:
    child, lines = running(["bash", "-c", "read first; echo $first; read second; echo $second"])
    child.tell("go")
    wait_for(lambda: lines == ["go"], within_s=5)
    child.tell("on")
    wait_for(lambda: child.exit_code == 0, within_s=5)
    child.tell("too late")
    child.kill()
    assert lines == ["go", "on"]
