"""FakeEngine: a small OpenAI-compatible server whose speed depends on its flags.

It needs nothing but Python, so that it runs in the smallest image:

    python server.py --model /model --served-model-name m --host 0.0.0.0 --port 8000 --slots 4

It streams tokens as fast as its performance model says. Switches make it die, hang, run out of
memory or refuse a flag, each in the words of a real engine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORD = "word "


@dataclass(frozen=True)
class Speed:
    """What the flags make of the engine: `slots` requests at a time, each at its own pace.

    More tensor-parallel ranks make a token quicker, with diminishing returns; more requests at
    once make each a little slower.
    """

    slots: int
    token_s: float
    tp_size: int

    def token_time_s(self, running: int) -> float:
        ranks = math.pow(self.tp_size, 0.7)
        return self.token_s / ranks * (1 + 0.15 * (running - 1))


class FakeEngine:
    """The state that all requests share."""

    def __init__(self, name: str, speed: Speed, ready_at: float) -> None:
        self.name = name
        self.ready_at = ready_at
        self._speed = speed
        self._free = threading.Semaphore(speed.slots)
        self._running = 0
        self._guard = threading.Lock()

    @property
    def is_ready(self) -> bool:
        return time.monotonic() >= self.ready_at

    def tokens(self, count: int) -> Iterator[str]:
        with self._free:
            with self._guard:
                self._running += 1
            try:
                for _ in range(count):
                    time.sleep(self._speed.token_time_s(self._running))
                    yield WORD
            finally:
                with self._guard:
                    self._running -= 1


class Handler(BaseHTTPRequestHandler):
    """`/health`, `/v1/models` and streaming or whole chat completions."""

    protocol_version = "HTTP/1.1"
    engine: FakeEngine

    def do_GET(self) -> None:
        if not self.engine.is_ready:
            self._answer(503, {"status": "loading"})
        elif self.path == "/health":
            self._answer(200, {"status": "ok"})
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": self.engine.name}]})
        else:
            self._answer(404, {"error": f"no {self.path}"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if request.get("model") != self.engine.name:
            self._answer(404, {"error": f"The model {request.get('model')} does not exist."})
            return
        count = int(request.get("max_tokens") or request.get("max_completion_tokens") or 16)
        prompt = sum(len(str(one.get("content")).split()) for one in request.get("messages", []))
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": count,
            "total_tokens": prompt + count,
        }
        if request.get("stream"):
            self._stream(count, usage)
        else:
            text = "".join(self.engine.tokens(count))
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "length"}
            self._answer(200, {"object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(self, count: int, usage: dict[str, int]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        # Clients read a body of unknown length to its end before they look at it, unless it comes
        # in chunks.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for token in self.engine.tokens(count):
            delta = {"role": "assistant", "content": token}
            self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        last = {"index": 0, "delta": {}, "finish_reason": "length"}
        self._event({"choices": [last]})
        self._event({"choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, document: dict[str, Any]) -> None:
        chunk = {"id": "fake", "object": "chat.completion.chunk", "model": self.engine.name}
        self._chunk(f"data: {json.dumps({**chunk, **document})}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        print(f"INFO: {self.address_string()} {format % args}", flush=True)


def parser() -> argparse.ArgumentParser:
    known = argparse.ArgumentParser(prog="fake_engine", description=__doc__, allow_abbrev=False)
    # Each also as the engines call it whose place it takes.
    known.add_argument("--model", "--model-path", required=True)
    known.add_argument("--served-model-name", "--alias", required=True)
    known.add_argument("--host", default="127.0.0.1")
    known.add_argument("--port", type=int, required=True)
    known.add_argument("--slots", "--parallel", "--max-running-requests", type=int, default=2)
    known.add_argument("--token-ms", type=float, default=5.0)
    known.add_argument("--tp-size", type=int, default=1)
    known.add_argument("--loading-s", type=float, default=0.0)
    known.add_argument("--print-lines", type=int, default=0)
    known.add_argument("--never-ready", action="store_true")
    known.add_argument("--out-of-memory", action="store_true")
    known.add_argument("--die-at-start", type=int, metavar="CODE")
    known.add_argument("--die-after-s", type=float, metavar="SECONDS")
    known.add_argument("--eat-memory-mib", type=int, default=0)
    known.add_argument("--ignore-sigterm", action="store_true")
    known.add_argument("--spawn-child", action="store_true")
    return known


def main() -> None:
    flags = parser().parse_args()
    print(f"INFO: loading {flags.model}", flush=True)
    print(f"INFO: server_args={flags}", flush=True)
    for line in range(flags.print_lines):
        print(f"INFO: line {line}", flush=True)
    misbehave(flags)
    ready_at = float("inf") if flags.never_ready else time.monotonic() + flags.loading_s
    speed = Speed(flags.slots, flags.token_ms / 1000, flags.tp_size)
    Handler.engine = FakeEngine(flags.served_model_name, speed, ready_at)
    server = ThreadingHTTPServer((flags.host, flags.port), Handler)
    print(f"INFO: listening on {flags.host}:{flags.port}", flush=True)
    server.serve_forever()


def misbehave(flags: argparse.Namespace) -> None:
    if flags.ignore_sigterm:
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if flags.spawn_child:
        import subprocess

        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if flags.eat_memory_mib:
        eaten = bytearray(os.urandom(1)) * (flags.eat_memory_mib * 1024 * 1024)
        print(f"INFO: ate {len(eaten)} bytes", flush=True)
    if flags.out_of_memory:
        print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB", flush=True)
        sys.exit(1)
    if flags.die_at_start is not None:
        print("RuntimeError: the fake engine was told to die", flush=True)
        sys.exit(flags.die_at_start)
    if flags.die_after_s is not None:
        threading.Timer(flags.die_after_s, _die).start()


def _die() -> None:
    print("RuntimeError: the fake engine dies as it was told", flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
