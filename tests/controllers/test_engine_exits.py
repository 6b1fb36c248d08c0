"""How the end of an engine is explained."""

from __future__ import annotations

import signal

import pytest

from controllers.engines.base import most_telling_line
from controllers.engines.catalogue import engine, engines
from controllers.engines.llamacpp import LlamaCpp
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName


@pytest.mark.parametrize(
    ("lines", "exit_code", "kind"),
    [
        (["server: error: unrecognized arguments: --foo"], 2, FailureKind.BAD_FLAG),
        (["vllm serve: error: argument --dtype: invalid choice"], 2, FailureKind.BAD_FLAG),
        (["torch.OutOfMemoryError: CUDA out of memory. Tried"], 1, FailureKind.OUT_OF_MEMORY),
        (["No available memory for the cache blocks."], 1, FailureKind.OUT_OF_MEMORY),
        (["[Errno 98] error while attempting to bind"], 1, FailureKind.PORT_TAKEN),
        (["error: port 8000 on 127.0.0.1 is taken"], 1, FailureKind.PORT_TAKEN),
        (["OSError: org/x is not a local folder and is not a valid model identifier"], 1,
         FailureKind.MODEL_MISSING),
        (["error: no such model file: /m/x"], 1, FailureKind.MODEL_MISSING),
        (["all was well"], -signal.SIGKILL, FailureKind.OUT_OF_MEMORY),
        (["W failed to mlock buffer: Cannot allocate memory"], -6, FailureKind.CRASHED),
        ([], None, FailureKind.CRASHED),
    ],
)  # fmt: skip
def test_the_end_of_an_engine_is_classified(
    lines: list[str], exit_code: int | None, kind: FailureKind
) -> None:
    for one in engines().values():
        failure = one.classify_exit(lines, exit_code)
        assert failure.kind is kind
        assert one.name.value in failure.message


def test_a_crash_names_the_signal_and_the_most_telling_line() -> None:
    lines = ["loading", "RuntimeError: the tensor is odd", "cleaning up before leaving"]

    failure = engine(EngineName.VLLM).classify_exit(lines, -signal.SIGSEGV)

    assert failure.message == "vllm was killed by SIGSEGV: RuntimeError: the tensor is odd"


@pytest.mark.parametrize(
    ("lines", "kind", "told"),
    [
        (
            ["0.1 E llama_init: quantized V cache requires flash_attn to be enabled"],
            FailureKind.BAD_FLAG,
            "quantized V cache",
        ),
        (
            ["0.1 E first cause", "0.2 E failed to load model", "error: the server did not start"],
            FailureKind.CRASHED,
            "first cause",
        ),
        (
            ["0.1 E a refused request", "x.cpp:12: GGML_ASSERT(n > 0) failed"],
            FailureKind.CRASHED,
            "GGML_ASSERT(n > 0)",
        ),
    ],
)
def test_llamacpp_is_quoted_with_the_cause_and_not_its_echo(
    lines: list[str], kind: FailureKind, told: str
) -> None:
    failure = LlamaCpp().classify_exit(lines, 1)

    assert failure.kind is kind
    assert told in failure.message


def test_a_kill_says_that_it_may_have_been_the_kernel() -> None:
    failure = engine(EngineName.LLAMACPP).classify_exit([], -signal.SIGKILL)

    assert "SIGKILL" in failure.message
    assert "out-of-memory killer" in failure.message


def test_a_long_line_is_cut_in_a_message() -> None:
    assert len(most_telling_line(["error " + "x" * 10_000])) < 400
