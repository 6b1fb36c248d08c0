"""Every engine by its name."""

from __future__ import annotations

from collections.abc import Iterable

from controllers.engines.base import Engine
from controllers.engines.llamacpp import LlamaCpp
from controllers.engines.sglang import Sglang
from controllers.engines.vllm import Vllm
from tuning.domain.names import EngineName


def engine(
    name: EngineName, llama_server_binary: str | None = None, allowed_flags: Iterable[str] = ()
) -> Engine:
    """The engine called `name`; `llama_server_binary` only matters to llama.cpp."""
    return engines(llama_server_binary, allowed_flags)[name]


def engines(
    llama_server_binary: str | None = None, allowed_flags: Iterable[str] = ()
) -> dict[EngineName, Engine]:
    """All engines; `llama_server_binary` is used instead of a llama-server on PATH.

    `allowed_flags` are those that an administrator allows although they are refused otherwise.
    """
    allowed = tuple(allowed_flags)
    known: tuple[Engine, ...] = (
        LlamaCpp(llama_server_binary, allowed),
        Vllm(allowed),
        Sglang(allowed),
    )
    return {one.name: one for one in known}
