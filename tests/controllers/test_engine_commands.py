"""The command line of each engine on this host, its version, and the flags that it takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from controllers.base import DeploymentError
from controllers.engines.base import Engine, flag_arguments
from controllers.engines.catalogue import engine, engines
from controllers.engines.llamacpp import PROJECT_ROOT, LlamaCpp
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName, FlagValue


@pytest.fixture(autouse=True)
def no_llama_server_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def argv(of: Engine, **parameters: FlagValue) -> tuple[str, ...]:
    flags = {name.replace("_", "-"): value for name, value in parameters.items()}
    return of.local_command("/m/x", "served", "127.0.0.1", 8001, flags).argv


def program(path: Path, text: str = "") -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_flags_keep_their_order_and_their_types() -> None:
    parameters: dict[str, FlagValue] = {
        "z": 1,
        "on": True,
        "off": False,
        "a": 0.1,
        "tiny": 1e-07,
        "name": "two words",
    }

    assert flag_arguments(parameters) == [
        *("--z", "1", "--on", "--a", "0.1", "--tiny", "1e-07", "--name", "two words")
    ]


def test_the_embedded_server_runs_in_the_projects_root() -> None:
    command = LlamaCpp().local_command("/m/x.gguf", "served", "127.0.0.1", 8001, {"threads": 2})

    assert command.cwd == PROJECT_ROOT
    assert (PROJECT_ROOT / "controllers").is_dir()
    assert command.argv == (
        *(sys.executable, "-m", "controllers.engines.llamacpp_server"),
        *("--model", "/m/x.gguf", "--alias", "served", "--host", "127.0.0.1", "--port", "8001"),
        *("--threads", "2"),
    )


def test_a_llama_server_on_the_path_is_used_instead(tmp_path: Path) -> None:
    binary = program(tmp_path / "llama-server", "echo 'version: 6710 (abc1234)' >&2")

    assert argv(LlamaCpp())[0] == str(binary)
    assert LlamaCpp().version() == "llama-server 6710 (abc1234)"


def test_a_configured_llama_server_is_used_and_a_wrong_one_is_reported(tmp_path: Path) -> None:
    binary = program(tmp_path / "my-server")

    assert argv(LlamaCpp(str(binary)))[0] == str(binary)
    missing = LlamaCpp(str(tmp_path / "nowhere")).missing()
    assert missing is not None
    assert missing.kind is FailureKind.ENGINE_MISSING
    assert "nowhere" in missing.message


def test_the_embedded_server_is_there_and_tells_its_version() -> None:
    assert LlamaCpp().missing() is None
    assert (LlamaCpp().version() or "").startswith("xllamacpp 20")


def test_vllm_serves_the_model() -> None:
    assert argv(engine(EngineName.VLLM), max_num_seqs=8, enforce_eager=True)[1:] == (
        *("serve", "/m/x", "--served-model-name", "served", "--host", "127.0.0.1"),
        *("--port", "8001", "--max-num-seqs", "8", "--enforce-eager"),
    )


def test_vllm_in_an_environment_of_its_own_tells_its_version(tmp_path: Path) -> None:
    bin_dir = tmp_path / "environment" / "bin"
    bin_dir.mkdir(parents=True)
    program(bin_dir / "python", "echo vllm 0.32.0+cpu")
    (tmp_path / "vllm").symlink_to(program(bin_dir / "vllm"))

    assert argv(engine(EngineName.VLLM))[0] == str(tmp_path / "vllm")
    assert engine(EngineName.VLLM).missing() is None
    assert engine(EngineName.VLLM).version() == "vllm 0.32.0+cpu"


def test_without_vllm_the_path_is_named_as_the_remedy() -> None:
    missing = engine(EngineName.VLLM).missing()

    assert missing is not None
    assert missing.kind is FailureKind.ENGINE_MISSING
    assert "PATH" in missing.message
    assert engine(EngineName.VLLM).version() is None


def test_sglang_runs_as_a_module_of_this_python() -> None:
    assert argv(engine(EngineName.SGLANG), mem_fraction_static=0.8) == (
        *(sys.executable, "-m", "sglang.launch_server", "--model-path", "/m/x"),
        *("--served-model-name", "served", "--host", "127.0.0.1", "--port", "8001"),
        *("--mem-fraction-static", "0.8"),
    )


@pytest.mark.parametrize("name", ["port", "host", "model", "served_model_name", "--port"])
def test_a_flag_of_the_controllers_own_is_refused_by_name(name: str) -> None:
    with pytest.raises(DeploymentError, match=name) as caught:
        engine(EngineName.VLLM).local_command("m", "s", "127.0.0.1", 8001, {name: 1})

    assert caught.value.failure.kind is FailureKind.BAD_FLAG


@pytest.mark.parametrize("name", list(EngineName))
def test_every_engine_explains_flags_and_none_of_them_is_reserved(name: EngineName) -> None:
    known = engines()[name].known_flags

    assert len(known) >= 10
    assert not engines()[name].reserved_flags & set(known)
    for key, flag in known.items():
        assert flag.name == key
        assert flag.meaning
        assert flag.default
        words = {*flag.values, "not", "by", "as"}
        assert not flag.values or flag.default.split()[0] in words
