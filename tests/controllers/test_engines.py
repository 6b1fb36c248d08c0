"""The command line of each engine, and how its end is explained."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from controllers.base import DeploymentError
from controllers.engines.base import Engine, flag_arguments, most_telling_line
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
        assert not flag.values or flag.default.split()[0] in {*flag.values, "not"}


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


class TestModels:
    """Where the model of a task is looked for."""

    def locate(self, name: EngineName, model: str, models_dir: Path) -> str:
        return engine(name).locate_model(model, models_dir)

    def gguf(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF\x03\0\0\0")
        return path

    def test_a_gguf_is_found_below_the_model_directory_and_by_absolute_path(
        self, tmp_path: Path
    ) -> None:
        file = self.gguf(tmp_path / "sub" / "small.gguf")

        for model in ("sub/small.gguf", "sub", str(file)):
            assert self.locate(EngineName.LLAMACPP, model, tmp_path) == str(file)

    def test_a_missing_gguf_comes_with_what_is_there_nearest_first(self, tmp_path: Path) -> None:
        for name in ("aaa.gguf", "small-q4.gguf"):
            self.gguf(tmp_path / name)

        with pytest.raises(DeploymentError, match=r"small-q4\.gguf, aaa\.gguf") as caught:
            self.locate(EngineName.LLAMACPP, "small-q8.gguf", tmp_path)
        assert caught.value.failure.kind is FailureKind.MODEL_MISSING

    def test_what_is_no_gguf_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.gguf").write_text("hello", encoding="utf-8")

        with pytest.raises(DeploymentError, match="not a GGUF file"):
            self.locate(EngineName.LLAMACPP, "x.gguf", tmp_path)

    @pytest.mark.parametrize("name", list(EngineName))
    @pytest.mark.parametrize("model", ["../secret.gguf", "a/../../secret.gguf", " "])
    def test_a_relative_path_stays_inside_the_model_directory(
        self, tmp_path: Path, name: EngineName, model: str
    ) -> None:
        self.gguf(tmp_path / "secret.gguf")

        with pytest.raises(DeploymentError, match="nor a path inside"):
            self.locate(name, model, tmp_path / "models")

    def test_an_ambiguous_directory_is_refused_with_its_files(self, tmp_path: Path) -> None:
        for name in ("a.gguf", "b.gguf"):
            self.gguf(tmp_path / "two" / name)

        with pytest.raises(DeploymentError, match=r"a\.gguf, b\.gguf"):
            self.locate(EngineName.LLAMACPP, "two", tmp_path)

    def test_other_engines_take_directories_and_hub_ids(self, tmp_path: Path) -> None:
        (tmp_path / "local").mkdir()

        assert self.locate(EngineName.VLLM, "local", tmp_path) == str(tmp_path / "local")
        assert self.locate(EngineName.VLLM, "org/some-model", tmp_path) == "org/some-model"
        for nonsense in ("/nowhere/at/all", "a/b/c", "what is this?"):
            with pytest.raises(DeploymentError, match="not a hub id"):
                self.locate(EngineName.SGLANG, nonsense, tmp_path)
