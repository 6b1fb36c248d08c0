"""The real genai-bench, mostly against the real llama.cpp server, from warm-up to stop."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from controllers.base import Benchmark, CacheFlush, LoadPoint, PointByPointRun, PointResult
from controllers.engines.gguf_tokenizer import tokenizer_directory
from controllers.genai_bench.run import GenaiBench, GenaiBenchRun
from controllers.genai_bench.warmup import typical_lengths
from tests.controllers.genai_bench_plans import at, plan
from tests.controllers.genai_bench_runs import (
    PROJECT,
    Log,
    free_port,
    nothing_is_left,
    processes_about,
    wait_for,
)
from tuning.domain.failures import FailureKind
from tuning.domain.names import LogSource

__all__ = ["nothing_is_left"]

# mypy checks here that the contract is kept.
BENCHMARK: type[Benchmark] = GenaiBench
RUN: type[PointByPointRun] = GenaiBenchRun

API_KEY = "sk-very-secret-key"


class Engine:
    """The embedded llama.cpp server as a child process."""

    def __init__(self, model: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "controllers.engines.llamacpp_server"),
                *("--model", str(model), "--port", str(self.port)),
                *("--parallel", "4", "--threads", "1", "--ctx-size", "4096"),
            ],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_until_healthy(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the engine ended"
            try:
                if httpx.get(f"{self.url}/health", trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        pytest.fail("the engine is not healthy after 60 s")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture(scope="module")
def tokenizer(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tokenizer_directory(sample_model, tmp_path_factory.mktemp("tokenizers")))


@pytest.fixture(scope="module")
def engine(sample_model: Path) -> Iterator[Engine]:
    engine = Engine(sample_model)
    try:
        engine.wait_until_healthy()
        yield engine
    finally:
        engine.kill()


def follow(
    run: GenaiBenchRun, points: Sequence[LoadPoint], on_poll: Callable[[], None] = lambda: None
) -> list[PointResult]:
    """Ask for one point after the other, until the run breaks; stops it whatever happens."""
    results: list[PointResult] = []
    deadline = time.monotonic() + 150
    try:
        for point in points:
            run.measure(point)
            while not run.finished and not run.is_idle and time.monotonic() < deadline:
                results += run.poll()
                on_poll()
                time.sleep(0.02)
            results += run.poll()
            if run.finished:
                break
    finally:
        run.stop()
    return results + run.poll()


def texts_below(directory: Path) -> list[str]:
    return [path.read_text() for path in directory.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_points_are_measured_in_any_order_by_one_process(
    engine: Engine, tokenizer: str, tmp_path: Path
) -> None:
    grid = plan(
        tokenizer=tokenizer,
        scenarios=["D(16,8)", "D(24,4)"],
        concurrencies=[1, 2],
        warmup_requests=3,
        max_requests_per_point=1,
    )
    workdir, log = tmp_path / "work", Log()
    (workdir / "results").mkdir(parents=True)
    (workdir / "results" / "of_an_earlier_attempt.json").touch()
    run = GenaiBench(API_KEY).start(at(engine.url), grid, workdir, log)
    assert run.phase == "warm-up"
    # Neither in the order of the plan, nor all of it, nor only what is in it.
    points = [
        LoadPoint("D(24,4)", 2),
        LoadPoint("D(16,8)", 1),
        LoadPoint("D(16,8)", 3),
        LoadPoint("D(16,8)", 1, repeat=1),
        LoadPoint("D(16,8)", 1, repeat=2),
    ]
    results = follow(run, points)

    assert run.failure is None
    assert [result.point for result in results] == points
    for result in results:
        assert result.num_failed_requests == 0
        assert result.metrics["error_rate"] == 0
        assert result.metrics["mean_output_tokens"] == (8 if "16" in result.point.scenario else 4)

    # The raw files stay, in order, in the form that genai-bench's own reports read.
    files = sorted(path.name for path in (workdir / "results").iterdir())
    assert [name.split("_")[0] for name in files[:-1]] == [f"{n:03}" for n in range(5)]
    assert files[-1] == "experiment_metadata.json"
    assert json.loads((workdir / "results" / files[0]).read_text())["_time_unit"] == "s"
    assert sorted(path.name for path in workdir.iterdir()) == ["results"]

    # The key is nowhere, and neither is the noise.
    assert "model_api_key: ***" in str(log)
    assert API_KEY not in "\n".join([str(log), *texts_below(workdir)])
    assert "NoneType" not in str(log)
    assert any(line.startswith("warm-up: 3 requests in") for line in log.lines)

    # One process, no plots, no reports; what could not be flushed is said once.
    assert str(log).count("Welcome to genai-bench") == 1
    assert "Saving" not in str(log)
    assert {result.cache_flush for result in results} == {CacheFlush.PARTLY}
    assert str(log).count("The prefix cache was not wholly flushed") == 1


@pytest.mark.slow
def test_an_engine_killed_during_a_point_fails_the_benchmark_soon(
    sample_model: Path, tokenizer: str, tmp_path: Path
) -> None:
    victim, log = Engine(sample_model), Log()
    died_at = 0.0

    def kill_in_the_second_point() -> None:
        nonlocal died_at
        if not died_at and run.phase == "D(16,8) at concurrency 2":
            victim.kill()
            died_at = time.monotonic()

    try:
        victim.wait_until_healthy()
        three_points = plan(tokenizer=tokenizer, concurrencies=[1, 2, 3])
        run = GenaiBench().start(at(victim.url), three_points, tmp_path / "work", log)
        results = follow(run, three_points.points(), kill_in_the_second_point)
    finally:
        victim.kill()

    # A request may have succeeded before the kill: then the second point has a result that says
    # how many failed, and only the third is missing.
    assert results[0].point.concurrency == 1
    assert all(result.num_failed_requests for result in results[1:])
    assert time.monotonic() - died_at < 10
    assert run.failure
    assert run.failure.kind is FailureKind.BENCHMARK_FAILED
    assert "exit code 1 without a result for D(16,8) at concurrency" in run.failure.message
    assert "x 503 (Connection error" in run.failure.message
    assert str(log).count("Received error response") <= 6


@pytest.mark.slow
def test_genai_bench_failing_at_once_says_why(tmp_path: Path) -> None:
    absent = plan(tokenizer=str(tmp_path / "absent"), warmup_requests=1)
    log = Log()
    nobody = at(f"http://127.0.0.1:{free_port()}")
    run = GenaiBench(API_KEY).start(nobody, absent, tmp_path / "w", log)
    assert follow(run, absent.points()) == []
    assert run.failure
    assert run.failure.kind is FailureKind.BENCHMARK_FAILED
    assert "exit code 1 without a result for D(16,8) at concurrency 1" in run.failure.message
    assert "OSError" in run.failure.message
    assert any(line.startswith("warm-up: 1 of 1 requests failed: Conn") for line in log.lines)
    assert API_KEY not in "\n".join([str(log), run.failure.message, *texts_below(tmp_path)])


def stop_in_time(run: GenaiBenchRun, *, while_a_point_is_wanted: bool = True) -> None:
    started = time.monotonic()
    run.stop()
    assert time.monotonic() - started < 1
    assert run.finished
    if while_a_point_is_wanted:
        assert run.failure
        assert "was stopped without a result for" in run.failure.message
    else:
        assert run.failure is None
    run.stop()
    assert run.poll() == []


def test_stop_during_the_import(tmp_path: Path) -> None:
    run = GenaiBench().start(at("http://127.0.0.1:9"), plan(), tmp_path / "work", Log())
    run.measure(LoadPoint("D(16,8)", 1))
    with pytest.raises(RuntimeError, match="has no result yet"):
        run.measure(LoadPoint("D(16,8)", 2))
    wait_for(lambda: run.phase == "genai-bench starts")
    time.sleep(0.5)
    assert run.poll() == []
    stop_in_time(run)


def test_stop_during_the_warm_up_does_not_wait_for_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        asked = plan(warmup_requests=8, concurrencies=[4])
        run = GenaiBench().start(at(url), asked, tmp_path / "work", Log())
        connection, _ = mute.accept()
        assert run.phase == "warm-up"
        stop_in_time(run, while_a_point_is_wanted=False)
        connection.close()


@pytest.mark.slow
def test_stop_while_measuring(engine: Engine, tokenizer: str, tmp_path: Path) -> None:
    long = plan(tokenizer=tokenizer, max_requests_per_point=10_000)
    log = Log()
    run = GenaiBench().start(at(engine.url), long, tmp_path / "work", log)
    try:
        run.measure(LoadPoint("D(16,8)", 1))
        wait_for(lambda: run.poll() == [] and "Starting benchmark" in str(log))
        assert processes_about(tmp_path)
    finally:
        stop_in_time(run)


class FlakyEngine(BaseHTTPRequestHandler):
    """Streams two tokens for a chat, but answers every third with an error that quotes the key."""

    protocol_version = "HTTP/1.1"
    numbers: ClassVar[Iterator[int]] = count(1)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.05)
        if next(self.numbers) % 3 == 0:
            self.begin(500)
            self.send_chunk(f"no luck with {self.headers['Authorization']}")
        else:
            self.begin(200)
            for event in (
                {"choices": [{"delta": {"content": "a"}}]},
                {"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]},
                {"choices": [], "usage": {"prompt_tokens": 16, "completion_tokens": 2}},
            ):
                self.send_chunk(f"data: {json.dumps(event)}\n\n")
                time.sleep(0.005)
        self.send_chunk("")

    def begin(self, status: int) -> None:
        self.send_response(status)
        # genai-bench times tokens by chunks: of any other body it sees only the end.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def send_chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""


@pytest.mark.slow
def test_failed_requests_are_counted(tokenizer: str, tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FlakyEngine)
    threading.Thread(target=server.serve_forever, name="flaky engine").start()
    flaky = plan(tokenizer=tokenizer, concurrencies=[2], max_requests_per_point=6)
    log = Log()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        run = GenaiBench(API_KEY).start(at(url), flaky, tmp_path / "work", log)
        (result,) = follow(run, flaky.points())
    finally:
        server.shutdown()
        server.server_close()
    assert run.failure is None
    assert result.num_failed_requests > 0
    assert result.num_requests > result.num_failed_requests
    assert result.metrics["error_rate"] == pytest.approx(1 / 3, abs=0.1)
    assert "no luck with Bearer ***" in str(log)
    assert API_KEY not in "\n".join([str(log), *texts_below(tmp_path)])


def test_a_log_that_fails_does_not_end_the_run(tmp_path: Path) -> None:
    def broken(source: LogSource, line: str) -> None:
        raise RuntimeError("the database is gone")

    hopeless = plan(warmup_requests=1)
    run = GenaiBench().start(at("http://127.0.0.1:9"), hopeless, tmp_path / "work", broken)
    try:
        wait_for(lambda: run.phase == "genai-bench starts", within_s=5)
    finally:
        run.stop()


@pytest.mark.parametrize(
    ("scenario", "lengths"),
    [
        ("D(100,20)", (100, 20)),
        ("N(480,240)/(300,150)", (480, 300)),
        ("U(50,100)/(200,250)", (100, 250)),
        ("U(100,200)", (100, 200)),
        ("E(512)", (64, 16)),
        ("dataset", (64, 16)),
    ],
)
def test_warm_up_requests_are_about_as_long_as_the_first_scenario(
    scenario: str, lengths: tuple[int, int]
) -> None:
    assert typical_lengths(scenario) == lengths
