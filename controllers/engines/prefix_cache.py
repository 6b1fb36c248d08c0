"""Emptying an engine's prefix cache over HTTP, so that no load point profits from the one before.

Each engine has its own way, and none does it while requests are under way:

- SGLang: `POST /flush_cache` answers 200, or 400 while it is busy (`entrypoints/http_server.py`).
- vLLM: `POST /reset_prefix_cache` answers 200, newer versions with `{"success": false}` while
  blocks are held. It is there only with `VLLM_SERVER_DEV_MODE=1`; otherwise it is a 404.
- llama.cpp: `POST /slots/{id}?action=erase` for each slot (`tools/server/README.md`). It answers
  501 where the server was started without `--slot-save-path`. What `--cache-ram` keeps of earlier
  prompts outlives that, and nothing else can empty it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import httpx

from controllers.base import CacheFlush, Deployment
from tuning.domain.names import EngineName

ANSWER_WITHIN_S = 10.0
_MAX_QUOTED = 120


@dataclass(frozen=True)
class Answer:
    """What one attempt gave. `reason` says why it was not wholly flushed. `is_busy` is worth
    another attempt in a moment."""

    result: CacheFlush
    reason: str = ""
    is_busy: bool = False


class PrefixCache(ABC):
    """The prefix cache of one engine that is up. `close` may be called from another thread."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        # Proxies are for the internet, not for the engine.
        self._client = httpx.Client(
            base_url=base_url.rstrip("/"),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=ANSWER_WITHIN_S,
            trust_env=False,
        )

    def flush(self) -> Answer:
        """Try once. Takes as long as the engine does to answer, at most `ANSWER_WITHIN_S`."""
        try:
            return self._flush()
        except (httpx.HTTPError, RuntimeError, ValueError, KeyError, TypeError) as error:
            return Answer(CacheFlush.NOT, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Give up an attempt that is under way, and all later ones. Twice is no error."""
        self._client.close()

    @abstractmethod
    def _flush(self) -> Answer: ...

    def _post(self, path: str) -> httpx.Response:
        return self._client.post(path)


class SglangCache(PrefixCache):
    def _flush(self) -> Answer:
        answer = self._post("/flush_cache")
        return _whole() if answer.is_success else _refused(answer, busy_code=400)


class VllmCache(PrefixCache):
    def _flush(self) -> Answer:
        answer = self._post("/reset_prefix_cache")
        if not answer.is_success:
            return _refused(answer)
        # Versions that don't tell answer with nothing.
        if answer.content and answer.json().get("success") is False:
            return Answer(CacheFlush.NOT, "blocks are still held", is_busy=True)
        return _whole()


class LlamaCppCache(PrefixCache):
    """`keeps_prompts` says that the server was not told to do without `--cache-ram`."""

    def __init__(self, base_url: str, api_key: str | None, *, keeps_prompts: bool) -> None:
        super().__init__(base_url, api_key)
        self._keeps_prompts = keeps_prompts

    def _flush(self) -> Answer:
        properties = self._client.get("/props")
        properties.raise_for_status()
        for slot in range(int(properties.json()["total_slots"])):
            answer = self._post(f"/slots/{slot}?action=erase")
            if not answer.is_success:
                return _refused(answer)
        if self._keeps_prompts:
            return Answer(
                CacheFlush.PARTLY,
                "its slots were erased, but prompts that it keeps in RAM are only forgotten with "
                "--cache-ram 0",
            )
        return _whole()


def prefix_cache(
    engine: EngineName, deployment: Deployment, api_key: str | None = None
) -> PrefixCache:
    """The cache of a deployed engine."""
    url = deployment.base_url
    if engine is EngineName.SGLANG:
        return SglangCache(url, api_key)
    if engine is EngineName.VLLM:
        return VllmCache(url, api_key)
    return LlamaCppCache(url, api_key, keeps_prompts=_keeps_prompts(deployment.command))


def _keeps_prompts(command: Sequence[str]) -> bool:
    following = dict(pairwise(command))
    return "0" not in (following.get("--cache-ram"), following.get("-cram"))


def _whole() -> Answer:
    return Answer(CacheFlush.WHOLE)


def _refused(answer: httpx.Response, busy_code: int | None = None) -> Answer:
    said = " ".join(answer.text.split())[:_MAX_QUOTED]
    reason = f"{answer.request.url.path} answered {answer.status_code} {said}".rstrip()
    return Answer(CacheFlush.NOT, reason, is_busy=answer.status_code == busy_code)
