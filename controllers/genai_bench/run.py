"""Runs genai-bench against an engine and hands out each load point's result as soon as it is there.

genai-bench has no option that leaves its reports out (0.0.5: `cli/cli.py` makes them always). They
come after the last result file, when nothing of value is left to wait for, so the whole process
group is then killed.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from controllers.base import BenchmarkPlan, Deployment, LoadPoint, LogSink, PointResult
from controllers.genai_bench.child import Child
from controllers.genai_bench.command import EXPERIMENT_FOLDER, command, environment
from controllers.genai_bench.failure import (
    describe_exit,
    describe_failed_requests,
    describe_point,
    missing_points,
)
from controllers.genai_bench.output import Output, Redactor
from controllers.genai_bench.results import ResultError, parse_result
from controllers.genai_bench.warmup import WarmUp
from tuning.domain.failures import Failure
from tuning.domain.names import LogSource

logger = logging.getLogger(__name__)

RESULTS_FOLDER = "results"
"""Where the raw files stay, inside the workdir, for users to download."""

_SCRATCH_FOLDER = "scratch"
_METADATA_FILE = "experiment_metadata.json"
_DEBUG_FILES = "debug_for_run_*.json"


class GenaiBench:
    """Measures engines with genai-bench. `api_key` is what the engine asks its clients for."""

    def __init__(self, api_key: str | None = None) -> None:
        self._api_key = api_key

    def start(
        self, deployment: Deployment, plan: BenchmarkPlan, workdir: Path, log: LogSink
    ) -> GenaiBenchRun:
        """Begin with the warm-up, while genai-bench is being imported; returns at once.

        Raises:
            OSError: `workdir` can't be written to, or no process could be started.
        """
        return GenaiBenchRun(deployment.base_url, plan, workdir, log, self._api_key)


class GenaiBenchRun:
    """One call of genai-bench: a `BenchmarkRun`. Its methods may be called from any thread."""

    def __init__(
        self,
        base_url: str,
        plan: BenchmarkPlan,
        workdir: Path,
        log: LogSink,
        api_key: str | None,
    ) -> None:
        self._plan = plan
        self._log = log
        self._redact = Redactor(api_key)
        self._points = plan.points()
        self._missing = plan.points()
        self._fresh: list[PointResult] = []
        self._output = Output(self._redact)
        self._failure: Failure | None = None
        self._finished = False
        self._lock = threading.Lock()
        self._scratch, self._results = _prepare(workdir)
        self._child = Child(
            command(base_url, plan, self._scratch),
            environment(base_url, plan, api_key),
            self._scratch,
            self._follow,
        )
        self._warm_up = WarmUp(
            base_url, plan, api_key, self._report, then=lambda: self._child.tell("go")
        )

    def poll(self) -> list[PointResult]:
        with self._lock:
            if not self._finished:
                self._look()
            fresh, self._fresh = self._fresh, []
            return fresh

    @property
    def phase(self) -> str:
        if self._finished:
            return "finished"
        if self._warm_up.under_way:
            return "warm-up"
        started = self._output.points_started
        if not started:
            return "genai-bench starts"
        return describe_point(self._points[min(started, len(self._points)) - 1], self._plan.repeats)

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def failure(self) -> Failure | None:
        return self._failure

    def stop(self) -> None:
        """End every process of this run at once: genai-bench has nothing to save.

        Points that were measured but not polled for are still handed out by `poll`.
        """
        with self._lock:
            if self._finished:
                return
            try:
                self._collect()
            finally:
                self._end("The benchmark was stopped", reason_is_known=True)

    def _look(self) -> None:
        """Take in what is new, and end the run when nothing more can come."""
        # Asked before looking for files: whatever was written before the end is then found.
        exit_code = self._child.exit_code
        all_measured = self._output.all_measured
        self._collect()
        if exit_code is not None:
            self._end(describe_exit(exit_code))
        elif all_measured or not self._missing:
            self._end("genai-bench finished")

    def _end(self, how: str, *, reason_is_known: bool = False) -> None:
        """Stop everything, then read the last lines and files for what they say of a failure."""
        self._warm_up.cancel()
        self._child.kill()
        if self._missing:
            reasons = [] if reason_is_known else self._reasons()
            self._failure = missing_points(self._missing, self._plan.repeats, how, reasons)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._finished = True

    def _reasons(self) -> list[str]:
        debug_files = (self._scratch / EXPERIMENT_FOLDER).glob(_DEBUG_FILES)
        found = (
            describe_failed_requests(debug_files, self._redact),
            self._output.most_telling_line(),
        )
        return [reason for reason in found if reason]

    def _follow(self, line: str) -> None:
        """Take in one line of genai-bench's output; called from the thread that reads it."""
        started_before = self._output.points_started
        for shown in self._output.follow(line):
            self._report(shown)
        if self._output.points_started > started_before:
            self._save_from_overwriting()

    def _save_from_overwriting(self) -> None:
        """Collect the previous point's file before the point that has begun can overwrite it.

        A repeat that takes as many seconds has the same file name. `poll` is in time for that only
        if its caller is. Whoever holds the lock is collecting at this moment, or ending the run.
        """
        if self._lock.acquire(blocking=False):
            try:
                # `poll` meets the same error, and has a caller to tell.
                with suppress(OSError):
                    if not self._finished:
                        self._collect()
            finally:
                self._lock.release()

    def _collect(self) -> None:
        """Take away every complete file; an incomplete one is looked at again the next time."""
        try:
            with os.scandir(self._scratch / EXPERIMENT_FOLDER) as entries:
                files = [entry for entry in entries if entry.name.endswith(".json")]
        except FileNotFoundError:
            return
        for file in sorted(files, key=lambda entry: entry.stat().st_mtime_ns):
            if file.name == _METADATA_FILE:
                self._take(Path(file.path), self._results / _METADATA_FILE)
            elif not file.name.startswith("debug_"):
                self._collect_result(Path(file.path))

    def _collect_result(self, file: Path) -> None:
        index = len(self._points) - len(self._missing)
        kept = self._results / f"{index:03}_{file.name}"
        document = self._take(file, kept)
        if document is None:
            return
        try:
            result = parse_result(document)
        except ResultError as error:
            self._report(f"{kept.name} is ignored: {error}")
            return
        point = self._missing_point_like(result.point)
        if point is None:
            self._report(f"{kept.name} is ignored: {result.point} was not asked for")
            return
        self._missing.remove(point)
        self._fresh.append(replace(result, point=point))

    def _missing_point_like(self, measured: LoadPoint) -> LoadPoint | None:
        """The first repeat still missing of what was measured: a file does not say which it is."""
        return next(
            (
                point
                for point in self._missing
                if (point.scenario, point.concurrency) == (measured.scenario, measured.concurrency)
            ),
            None,
        )

    def _take(self, file: Path, kept: Path) -> object | None:
        """Move a file to where it is kept, without secrets; None while it is being written."""
        try:
            text = file.read_text(encoding="utf-8")
            document: object = json.loads(text)
        except ValueError:
            return None
        kept.write_text(self._redact(text), encoding="utf-8")
        file.unlink()
        return document

    def _report(self, line: str) -> None:
        try:
            self._log(LogSource.BENCHMARK, self._redact(line))
        except Exception:
            # Lines come from threads that must go on: genai-bench blocks once nobody reads it.
            logger.exception("A line of the benchmark's log was lost")


def _prepare(workdir: Path) -> tuple[Path, Path]:
    """Create the workdir, or empty it, and give the folders for genai-bench's files and for ours.

    genai-bench writes the key into its files, so nobody else may look into the scratch folder, and
    its log file, which only repeats what it prints, goes nowhere.
    """
    empty_directory(workdir)
    scratch, results = workdir / _SCRATCH_FOLDER, workdir / RESULTS_FOLDER
    results.mkdir(parents=True)
    scratch.mkdir(mode=0o700)
    (scratch / "genai_bench.log").symlink_to(os.devnull)
    return scratch, results


def empty_directory(directory: Path) -> None:
    """Take everything out of a directory, where it is there."""
    if not directory.exists():
        return
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
