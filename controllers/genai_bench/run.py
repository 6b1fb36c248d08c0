"""Runs genai-bench against an engine, point by point, and hands out each result when it is there.

One process measures all points of a deployment: its import alone takes seconds. It asks for each
point (`launcher.py`) and would go on asking; once nothing more is wanted, the whole process group
is killed, which also spares the reports that genai-bench makes at its end.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

from controllers.base import BenchmarkPlan, Deployment, LoadPoint, LogSink, PointResult
from controllers.engines.prefix_cache import PrefixCache, prefix_cache
from controllers.genai_bench.child import Child
from controllers.genai_bench.command import EXPERIMENT_FOLDER, command, environment
from controllers.genai_bench.failure import (
    describe_exit,
    describe_failed_requests,
    describe_point,
    missing_points,
)
from controllers.genai_bench.flushing import Flushing
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
        cache = prefix_cache(plan.engine, deployment, self._api_key)
        return GenaiBenchRun(deployment.base_url, plan, workdir, log, self._api_key, cache)


class GenaiBenchRun:
    """One process of genai-bench: a `PointByPointRun`. Methods may be called from any thread."""

    def __init__(
        self,
        base_url: str,
        plan: BenchmarkPlan,
        workdir: Path,
        log: LogSink,
        api_key: str | None,
        cache: PrefixCache,
    ) -> None:
        self._plan = plan
        self._log = log
        self._redact = Redactor(api_key)
        self._current: LoadPoint | None = None
        self._points_told = 0
        self._cache = cache
        self._flush: Flushing | None = None
        self._flush_reason = ""
        self._kept = 0
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
        self._warm_up = WarmUp(base_url, plan, api_key, self._report)

    def measure(self, point: LoadPoint) -> None:
        with self._lock:
            if self._current is not None:
                raise RuntimeError(f"{self._current} has no result yet")
            self._current = point
            self._flush = None

    @property
    def is_idle(self) -> bool:
        return self._current is None

    def poll(self) -> list[PointResult]:
        with self._lock:
            if not self._finished:
                self._look()
            fresh, self._fresh = self._fresh, []
            return fresh

    @property
    def phase(self) -> str:
        point = self._current
        if self._finished:
            return "finished"
        if self._warm_up.under_way:
            return "warm-up"
        if not self._output.points_asked_for:
            return "genai-bench starts"
        return (
            "between two load points"
            if point is None
            else describe_point(point, self._plan.repeats)
        )

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def failure(self) -> Failure | None:
        return self._failure

    def stop(self) -> None:
        """End every process of this run at once: genai-bench has nothing to save.

        A point that was measured but not polled for is still handed out by `poll`.
        """
        with self._lock:
            if self._finished:
                return
            try:
                self._collect()
            finally:
                if self._current is None:
                    self._close()
                else:
                    self._fail("The benchmark was stopped", reason_is_known=True)

    def _look(self) -> None:
        """Take in what is new, send the point that is wanted, and end a run that broke."""
        # Asked before looking for files: whatever was written before the end is then found.
        exit_code = self._child.exit_code
        self._collect()
        if exit_code is not None:
            self._fail(describe_exit(exit_code))
        elif self._current is not None and self._wants_a_point():
            self._send(self._current)

    def _wants_a_point(self) -> bool:
        return self._output.points_asked_for > self._points_told and not self._warm_up.under_way

    def _send(self, point: LoadPoint) -> None:
        """Tell genai-bench the point, once the engine has forgotten the prompts of the last one."""
        if self._flush is None:
            self._flush = Flushing(self._cache)
        answer = self._flush.answer
        if answer is None:
            return
        if answer.reason and answer.reason != self._flush_reason:
            self._flush_reason = answer.reason
            self._report(f"The prefix cache was not wholly flushed: {answer.reason}")
        self._points_told += 1
        self._child.tell(json.dumps({"scenario": point.scenario, "level": point.concurrency}))

    def _fail(self, how: str, *, reason_is_known: bool = False) -> None:
        """Stop everything, then read the last lines and files for what they say of a failure."""
        point = self._current
        self._stop_processes()
        reasons = [] if reason_is_known else self._reasons()
        missing = [] if point is None else [point]
        self._failure = missing_points(missing, self._plan.repeats, how, reasons)
        self._close()

    def _close(self) -> None:
        self._stop_processes()
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._finished = True

    def _stop_processes(self) -> None:
        self._warm_up.cancel()
        self._cache.close()
        self._child.kill()

    def _reasons(self) -> list[str]:
        debug_files = (self._scratch / EXPERIMENT_FOLDER).glob(_DEBUG_FILES)
        found = (
            describe_failed_requests(debug_files, self._redact),
            self._output.most_telling_line(),
        )
        return [reason for reason in found if reason]

    def _follow(self, line: str) -> None:
        """Take in one line of genai-bench's output; called from the thread that reads it."""
        for shown in self._output.follow(line):
            self._report(shown)

    def _collect(self) -> None:
        """Take away every complete file; an incomplete one is looked at again the next time."""
        try:
            with os.scandir(self._scratch / EXPERIMENT_FOLDER) as entries:
                files = [entry for entry in entries if entry.name.endswith(".json")]
        except FileNotFoundError:
            return
        for file in files:
            if file.name == _METADATA_FILE:
                self._take(Path(file.path), self._results / _METADATA_FILE)
            elif not file.name.startswith("debug_"):
                self._collect_result(Path(file.path))

    def _collect_result(self, file: Path) -> None:
        kept = self._results / f"{self._kept:03}_{file.name}"
        document = self._take(file, kept)
        if document is None:
            return
        try:
            result = parse_result(document)
        except ResultError as error:
            self._report(f"{kept.name} is ignored: {error}")
            return
        point = self._current
        if point is None or replace(point, repeat=0) != result.point:
            self._report(f"{kept.name} is ignored: {result.point} was not asked for")
            return
        self._kept += 1
        answer = self._flush.answer if self._flush else None
        flushed = answer.result if answer else None
        self._fresh.append(replace(result, point=point, cache_flush=flushed))
        self._current = None

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
