"""Every engine by its name."""

from __future__ import annotations

from collections.abc import Iterable

from controllers.engines.base import Engine
from controllers.engines.llamacpp import LlamaCpp
from controllers.engines.sglang import Sglang
from controllers.engines.vllm import Vllm
from tuning.domain.names import EngineName


def engine(
    name: EngineName,
    llama_server_binary: str | None = None,
    allowed_flags: Iterable[str] = (),
    *,
    checks_flags: bool = True,
) -> Engine:
    """The engine called `name`; the rest is as for `engines`."""
    return engines(llama_server_binary, allowed_flags, checks_flags=checks_flags)[name]


def engines(
    llama_server_binary: str | None = None,
    allowed_flags: Iterable[str] = (),
    *,
    checks_flags: bool = True,
) -> dict[EngineName, Engine]:
    """All engines; `llama_server_binary` is used instead of a llama-server on PATH.

    `allowed_flags` are those that an administrator allows although they are refused otherwise.
    Without `checks_flags` commands are made of any flags, to be shown and not run.
    """
    allowed = tuple(allowed_flags)
    known: tuple[Engine, ...] = (
        LlamaCpp(llama_server_binary, allowed, checks_flags=checks_flags),
        Vllm(allowed, checks_flags=checks_flags),
        Sglang(allowed, checks_flags=checks_flags),
    )
    return {one.name: one for one in known}
