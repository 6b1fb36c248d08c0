"""Requests that are sent before the first load point and never counted."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx

from controllers.base import BenchmarkPlan
from controllers.genai_bench.failure import shortened
from controllers.genai_bench.output import Redactor

_MAX_TOKENS = 32
_DEFAULT_LENGTHS = (64, 16)
_PATIENCE_S = 1.0
_MAX_ERROR_LENGTH = 200


def typical_lengths(scenario: str) -> tuple[int, int]:
    """Input and output tokens that a traffic scenario asks for, roughly.

    `D(in,out)` and `U(max in,max out)` as they stand, the means of `N(in,±)/(out,±)`, the upper
    ends of `U(from,to)/(from,to)`; other kinds (images, documents) get a short chat.
    """
    numbers = [int(number) for number in re.findall(r"\d+", scenario)]
    if scenario.startswith(("D", "U")) and len(numbers) == 2:
        return numbers[0], numbers[1]
    if scenario.startswith("N") and len(numbers) == 4:
        return numbers[0], numbers[2]
    if scenario.startswith("U") and len(numbers) == 4:
        return numbers[1], numbers[3]
    return _DEFAULT_LENGTHS


def _nothing_follows() -> None:
    """The measuring waits by itself."""


class WarmUp:
    """Sends the warm-up's chats from a thread of its own, then calls `then`.

    A warm-up that fails is only reported: if the engine is broken, the measurement will say so
    better. `then` is not called after `cancel`.
    """

    def __init__(
        self,
        base_url: str,
        plan: BenchmarkPlan,
        api_key: str | None,
        report: Callable[[str], None],
        then: Callable[[], None] = _nothing_follows,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/chat/completions"
        self._plan = plan
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._redact = Redactor(api_key)
        self._report = report
        self._then = then
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._send_all())
        self._thread = threading.Thread(target=self._run, name="warm-up", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> bool:
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Drop the requests in flight; returns once the thread has ended. Twice is no error."""
        # The loop is closed once the warm-up is over.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            return
        except Exception as error:  # nothing that breaks the warm-up may hold up the measurement
            self._report(f"warm-up failed: {type(error).__name__}: {error}")
        finally:
            self._loop.close()
        self._then()

    async def _send_all(self) -> None:
        requests = self._plan.warmup_requests
        if not requests or not self._plan.task.endswith("-to-text"):
            return
        started = time.monotonic()
        slots = asyncio.Semaphore(max(self._plan.concurrencies))
        # Proxies are for the internet, not for the engine; an engine that hangs is the
        # benchmark's to report, within the time that a load point may take.
        async with httpx.AsyncClient(
            trust_env=False,
            headers=self._headers,
            timeout=self._plan.max_time_per_point_min * 60,
            limits=httpx.Limits(max_connections=None),
        ) as client:
            answers = await asyncio.gather(
                *(self._send(client, slots, number) for number in range(requests))
            )
        errors = [error for error in answers if error]
        if errors:
            self._report(f"warm-up: {len(errors)} of {requests} requests failed: {errors[0]}")
        else:
            self._report(f"warm-up: {requests} requests in {time.monotonic() - started:.1f} s")

    async def _send(
        self, client: httpx.AsyncClient, slots: asyncio.Semaphore, number: int
    ) -> str | None:
        """One chat; returns what went wrong, if anything did."""
        async with slots:
            try:
                response = await client.post(self._url, json=self._chat(number))
            except httpx.HTTPError as error:
                return f"{type(error).__name__}: {error}"
        if response.is_success:
            return None
        reason = shortened(self._redact(response.text), _MAX_ERROR_LENGTH)
        return f"HTTP {response.status_code}: {reason}"

    def _chat(self, number: int) -> dict[str, object]:
        prompt_tokens, output_tokens = typical_lengths(self._plan.scenarios[0])
        # Each prompt begins differently, or a prefix cache would spare the engine the work.
        prompt = f"{number}" + " hello" * prompt_tokens
        return {
            "model": self._plan.model_name,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": min(output_tokens, _MAX_TOKENS),
            "ignore_eos": True,
        }
