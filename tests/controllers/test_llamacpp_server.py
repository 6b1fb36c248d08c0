"""The embedded server as a program: its flags, its exit codes, its end."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import xllamacpp

from controllers.engines.llamacpp_flags import FLAGS, Choice, Member
from controllers.engines.llamacpp_server import params_from, parser
from controllers.ports import LOOPBACK, lease_port
from tests.controllers.conftest import PORT_RANGE

SERVER = (sys.executable, "-m", "controllers.engines.llamacpp_server")
SMALL = ("-c", "512", "-np", "2", "-t", "1", "--no-warmup")
"""Flags that start a server fast; one thread, as two are very slow when a core is busy."""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with lease_port(tmp_path / "ports", PORT_RANGE) as lease:
        yield lease.port


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVER, *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def params(*arguments: str) -> xllamacpp.CommonParams:
    return params_from(vars(parser().parse_args(["--model", "m.gguf", *arguments])))


@contextlib.contextmanager
def serving(model: Path, port: int, *flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [*SERVER, "--model", str(model), "--port", str(port), *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == f"listening on http://{LOOPBACK}:{port}\n"
            yield server
        finally:
            server.kill()


def test_every_flag_sets_something_that_the_library_has() -> None:
    for flag in FLAGS:
        values = flag.reader.values.values() if isinstance(flag.reader, Choice) else [flag.constant]
        for value in values:
            if isinstance(value, Member):
                assert hasattr(getattr(xllamacpp, value.enum), value.name), flag.names
        for target in flag.targets:
            owner = xllamacpp.CommonParams()
            for part in target.split("."):
                assert hasattr(owner, part), (flag.names, target)
                owner = getattr(owner, part)


def test_no_name_is_used_twice() -> None:
    names = [name for flag in FLAGS for name in flag.names]

    assert len(names) == len(set(names))


def test_flags_reach_the_library() -> None:
    seen = params(
        *("-t", "2", "--threads-batch", "3", "-np", "8", "-c", "4096", "-b", "64", "-ub", "32"),
        *("-ctk", "q8_0", "-ctv", "q4_0", "--no-cont-batching", "--poll", "0", "--prio", "-1"),
        *("--cache-reuse", "256", "--slot-prompt-similarity", "0.5", "-ngl", "all", "-ts", "3,1"),
        *("--metrics", "--timeout", "60", "--no-kv-offload", "--fit", "off", "--alias", "me"),
    )

    assert (seen.cpuparams.n_threads, seen.cpuparams_batch.n_threads) == (2, 3)
    assert (seen.n_parallel, seen.n_ctx, seen.n_batch, seen.n_ubatch) == (8, 4096, 64, 32)
    assert seen.cache_type_k == xllamacpp.ggml_type.GGML_TYPE_Q8_0
    assert seen.cache_type_v == xllamacpp.ggml_type.GGML_TYPE_Q4_0
    assert (seen.cont_batching, seen.cpuparams.poll, seen.n_gpu_layers) == (False, 0, -2)
    assert seen.cpuparams.priority == xllamacpp.ggml_sched_priority.GGML_SCHED_PRIO_LOW
    assert (seen.n_cache_reuse, seen.slot_prompt_similarity) == (256, 0.5)
    assert seen.tensor_split[:3] == [3.0, 1.0, 0.0]
    assert (seen.timeout_read, seen.timeout_write, seen.endpoint_metrics) == (60, 60, True)
    assert (seen.no_kv_offload, seen.fit_params, seen.model_alias) == (True, False, {"me"})


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "AUTO"),
        (("--flash-attn",), "ENABLED"),
        (("-fa", "on"), "ENABLED"),
        (("-fa", "off"), "DISABLED"),
        (("-fa", "auto"), "AUTO"),
    ],
)
def test_flash_attention_without_a_value_means_on(arguments: tuple[str, ...], name: str) -> None:
    expected = getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{name}")

    assert params(*arguments).flash_attn_type == expected


def test_without_flags_the_defaults_are_llama_servers() -> None:
    seen, untouched = params(), xllamacpp.CommonParams()

    assert seen.n_parallel == -1
    for name in ("n_ctx", "n_batch", "n_ubatch", "n_predict", "cont_batching", "fit_params"):
        assert getattr(seen, name) == getattr(untouched, name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--no-such-flag", "1"), "unrecognized arguments: --no-such-flag 1"),
        (("--thread", "1"), "unrecognized arguments: --thread 1"),
        (("--threads", "0"), "'0' is not a whole number of 1 to 512"),
        (("--threads", "2.5"), "'2.5' is not a whole number"),
        (("--parallel", "300"), "'300' is not a whole number of 1 to 256"),
        (("--cache-type-k", "q9"), "'q9' is none of the valid values: f32, f16, bf16, q8_0"),
        (("--flash-attn", "yes"), "'yes' is none of the valid values: on, off, auto"),
        (("--slot-prompt-similarity", "nan"), "not a number from 0 to 1"),
        (("--tensor-split", "a,b"), "not a list of shares"),
        (("--port", "70000"), "not a whole number of 1 to 65535"),
    ],
)
def test_a_bad_flag_or_value_is_refused_with_what_is_right(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--model", "m.gguf", *arguments])

    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_help_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])

    shown = capsys.readouterr().out
    assert all(name in shown for flag in FLAGS for name in flag.names)


def test_an_unknown_flag_exits_with_2() -> None:
    done = run("--model", "m.gguf", "--bogus")

    assert done.returncode == 2
    assert "unrecognized arguments: --bogus" in done.stderr


def test_a_missing_model_and_a_file_of_another_kind_exit_with_1(tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_text("not a model", encoding="utf-8")

    missing, wrong = run("--model", str(tmp_path / "none.gguf")), run("--model", str(other))

    assert (missing.returncode, wrong.returncode) == (1, 1)
    assert f"error: no such model file: {tmp_path / 'none.gguf'}" in missing.stderr
    assert "is not a GGUF file" in wrong.stderr


def test_a_broken_model_exits_with_1(tmp_path: Path, port: int) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 64)

    done = run("--model", str(broken), "--port", str(port))

    assert done.returncode == 1
    assert "error: the server did not start" in done.stderr


def test_a_taken_port_exits_with_1_before_the_model_is_loaded(
    sample_model: Path, port: int
) -> None:
    with socket.create_server((LOOPBACK, port)):
        done = run("--model", str(sample_model), "--port", str(port))

    assert done.returncode == 1
    assert f"error: port {port} on {LOOPBACK} is taken" in done.stderr


def test_it_serves_chat_under_its_alias_and_stops_at_once(sample_model: Path, port: int) -> None:
    with serving(sample_model, port, *SMALL, "--alias", "small") as server:
        url = f"http://{LOOPBACK}:{port}"
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            json={
                "model": "small",
                "max_tokens": 4,
                "messages": [{"role": "user", "content": "Say hello."}],
            },
            trust_env=False,
            timeout=30,
        ).json()
        slots = httpx.get(f"{url}/slots", trust_env=False).json()
        before = time.monotonic()
        server.send_signal(signal.SIGTERM)

        assert server.wait(timeout=5) == 0
        assert time.monotonic() - before < 0.2
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["model"] == "small"
    assert [slot["n_ctx"] for slot in slots] == [256, 256]


def test_an_interrupt_ends_it_too(sample_model: Path, port: int) -> None:
    with serving(sample_model, port, *SMALL) as server:
        server.send_signal(signal.SIGINT)

        assert server.wait(timeout=5) == 0
