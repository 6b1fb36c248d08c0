"""Emptying prefix caches: the real llama.cpp server, and the answers that the others give."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from controllers.base import CacheFlush, Deployment, DeploymentIdentity
from controllers.engines.catalogue import engine
from controllers.engines.prefix_cache import PrefixCache, prefix_cache
from controllers.genai_bench.flushing import Flushing
from tests.controllers.genai_bench_runs import PROJECT, free_port, wait_for
from tuning.domain.names import EngineName

# A GPU server's way of answering; the order of the answers is that of the requests.
BUSY_SGLANG = (400, "Cache flushed.\nPlease check backend logs for more details.")
DONE_SGLANG = (200, "Cache flushed.")


@contextmanager
def fake_engine(*answers: tuple[int, str]) -> Iterator[tuple[str, list[str]]]:
    """Answers each request with the next of `answers`, the last one again and again."""
    asked: list[str] = []

    class FakeEngine(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, text = answers[min(len(asked), len(answers) - 1)]
            asked.append(f"{self.command} {self.path} {self.headers['Authorization']}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Keeps the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeEngine)
    thread = threading.Thread(target=server.serve_forever, name="fake engine")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def cache_of(name: EngineName, url: str, *command: str) -> PrefixCache:
    deployment = Deployment(DeploymentIdentity("test", 1, 1, 1), url, ("engine", *command))
    return prefix_cache(name, deployment, "a-key")


def flushed(name: EngineName, *answers: tuple[int, str]) -> tuple[CacheFlush, str, list[str]]:
    """What comes of a flush, however often it has to be tried."""
    with fake_engine(*answers) as (url, asked):
        flushing = Flushing(cache_of(name, url))
        wait_for(lambda: flushing.answer is not None, within_s=30)
    assert flushing.answer is not None
    return flushing.answer.result, flushing.answer.reason, asked


def test_sglang_is_asked_again_while_it_is_busy() -> None:
    result, reason, asked = flushed(EngineName.SGLANG, BUSY_SGLANG, BUSY_SGLANG, DONE_SGLANG)
    assert (result, reason) == (CacheFlush.WHOLE, "")
    assert asked == ["POST /flush_cache Bearer a-key"] * 3


@pytest.mark.parametrize("answer", [(200, ""), (200, '{"success": true}')])
def test_vllm_says_yes_in_two_ways(answer: tuple[int, str]) -> None:
    result, _, asked = flushed(EngineName.VLLM, (200, '{"success": false}'), answer)
    assert result is CacheFlush.WHOLE
    assert asked == ["POST /reset_prefix_cache Bearer a-key"] * 2


def test_vllm_without_development_mode_is_not_asked_twice() -> None:
    result, reason, asked = flushed(EngineName.VLLM, (404, '{"detail":"Not Found"}'))
    assert result is CacheFlush.NOT
    assert reason == '/reset_prefix_cache answered 404 {"detail":"Not Found"}'
    assert len(asked) == 1


def test_the_autotuner_starts_vllm_so_that_it_can_be_asked() -> None:
    command = engine(EngineName.VLLM).local_command("model", "name", "127.0.0.1", 8000, {})
    assert command.env["VLLM_SERVER_DEV_MODE"] == "1"
    assert "VLLM_SERVER_DEV_MODE" not in " ".join(command.argv)


def test_an_engine_that_is_gone_is_not_flushed() -> None:
    cache = cache_of(EngineName.SGLANG, f"http://127.0.0.1:{free_port()}")
    assert cache.flush().result is CacheFlush.NOT
    assert "ConnectError" in cache.flush().reason
    cache.close()
    cache.close()
    assert cache.flush().result is CacheFlush.NOT


class LlamaCppServer:
    def __init__(self, model: Path, *flags: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [
            *(sys.executable, "-m", "controllers.engines.llamacpp_server"),
            *("--model", str(model), "--port", str(self.port)),
            *("--parallel", "2", "--threads", "1", "--ctx-size", "2048", *flags),
        ]
        self.process = subprocess.Popen(
            self.command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def is_healthy(self) -> bool:
        assert self.process.poll() is None
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def tokens_from_cache(self, words: str) -> int:
        """How much of a prompt the server had computed before."""
        chat: dict[str, Any] = {"messages": [{"role": "user", "content": words * 40}]}
        answer = httpx.post(
            f"{self.url}/v1/chat/completions",
            json={**chat, "max_tokens": 2},
            timeout=60,
            trust_env=False,
        )
        cached: int = answer.json()["timings"]["cache_n"]
        return cached


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "promised"), [((), CacheFlush.PARTLY), (("--cache-ram", "0"), CacheFlush.WHOLE)]
)
def test_llama_cpp_forgets_what_its_slots_hold(
    sample_model: Path, flags: tuple[str, ...], promised: CacheFlush
) -> None:
    server = LlamaCppServer(sample_model, *flags)
    try:
        wait_for(server.is_healthy, within_s=60)
        first = server.tokens_from_cache("the quick brown fox ")
        again = server.tokens_from_cache("the quick brown fox ")
        answer = cache_of(EngineName.LLAMACPP, server.url, *flags).flush()
        after = server.tokens_from_cache("the quick brown fox ")
        saving = httpx.post(
            f"{server.url}/slots/0?action=save", json={"filename": "stolen"}, trust_env=False
        )
    finally:
        server.process.kill()
        server.process.wait(10)
    assert again > 100 > first
    assert answer.result is promised
    assert ("--cache-ram" in answer.reason) is (promised is CacheFlush.PARTLY)
    assert after == first
    # What lets slots be erased lets nobody write files.
    assert not saving.is_success or saving.json()["n_written"] == 0
