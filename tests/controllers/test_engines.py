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


CORE = "(EngineCore pid=71) ERROR 11-23 13:50:38 [core.py:1510] "
WORKER = "(Worker pid=72) ERROR 11-23 13:50:38 [multiproc_executor.py:1063] "
SERVER = "(APIServer pid=70) ERROR 11-23 13:50:38 [async_llm.py:906] "
PYDANTIC = "pydantic_core._pydantic_core.ValidationError: "
PYDANTIC_DETAILS = (
    "[type=value_error, input_value=ArgsKwargs((), {'model_co... 0}), input_type=Args]"
)
PYDANTIC_END = "    For further information visit https://errors.pydantic.dev/2.14/v/value_error"


@pytest.mark.parametrize(
    ("lines", "kind", "told"),
    [
        pytest.param(
            ["            ...", "vllm: error: unrecognized arguments: --no-such-flag 3"],
            FailureKind.BAD_FLAG,
            "vllm: error: unrecognized arguments: --no-such-flag 3",
            id="unknown flag",
        ),
        pytest.param(
            [
                "usage: vllm serve [model_tag] [options]",
                "vllm serve: error: argument --max-num-seqs: invalid int value: 'zwei'",
            ],
            FailureKind.BAD_FLAG,
            "vllm serve: error: argument --max-num-seqs: invalid int value: 'zwei'",
            id="value of the wrong type",
        ),
        pytest.param(
            [
                PYDANTIC + "2 validation errors for SchedulerConfig",
                "max_num_batched_tokens",
                "  Input should be greater than or equal to 1 "
                "[type=greater_than_equal, input_value=0, input_type=int]",
                PYDANTIC_END,
                "max_num_seqs",
                "  Input should be greater than or equal to 1 "
                "[type=greater_than_equal, input_value=0, input_type=int]",
                PYDANTIC_END,
                "a line that has nothing to do with it",
            ],
            FailureKind.BAD_FLAG,
            "ValidationError: 2 validation errors for SchedulerConfig: max_num_batched_tokens "
            "Input should be greater than or equal to 1 max_num_seqs "
            "Input should be greater than or equal to 1",
            id="value out of range",
        ),
        pytest.param(
            [
                PYDANTIC + "1 validation error for VllmConfig",
                "  Value error, Total number of attention heads (2) must be divisible by tensor "
                f"parallel size (3). {PYDANTIC_DETAILS}",
                PYDANTIC_END,
            ],
            FailureKind.BAD_FLAG,
            "ValidationError: 1 validation error for VllmConfig: Value error, Total number of "
            "attention heads (2) must be divisible by tensor parallel size (3).",
            id="value that the model can't take",
        ),
        pytest.param(
            [
                WORKER + "ValueError: No common block size for 7 (CPU_ATTN: [MultipleOf(32)]).",
                CORE + "EngineCore failed to start.",
                "RuntimeError: Engine core initialization failed. See root cause above. "
                "Failed core proc(s): {}",
            ],
            FailureKind.BAD_FLAG,
            "ValueError: No common block size for 7 (CPU_ATTN: [MultipleOf(32)]).",
            id="value that the attention kernels can't take",
        ),
        pytest.param(
            [
                CORE + "AssertionError: Not enough allowed NUMA nodes to bind threads of 2 local "
                "CPUWorkers. Allowed NUMA nodes are [0]. Please try to bind threads manually or "
                "decrease DP/TP/PP."
            ],
            FailureKind.BAD_FLAG,
            "AssertionError: Not enough allowed NUMA nodes to bind threads of 2 local CPUWorkers. "
            "Allowed NUMA nodes are [0]. Please try to bind threads manually or decrease DP/TP/PP.",
            id="more workers than NUMA nodes",
        ),
        pytest.param(
            [
                PYDANTIC + "1 validation error for ModelConfig",
                "  Value error, Invalid repository ID or local directory specified: '/m/x'.",
                "Please verify the following requirements:",
                "1. Provide a valid Hugging Face repository ID. " + PYDANTIC_DETAILS,
                PYDANTIC_END,
            ],
            FailureKind.MODEL_MISSING,
            "ValidationError: 1 validation error for ModelConfig: Value error, Invalid repository "
            "ID or local directory specified: '/m/x'. Please verify the following requirements: "
            "1. Provide a valid Hugging Face repository ID.",
            id="no model in the directory",
        ),
        pytest.param(
            [
                WORKER + "RuntimeError: Cannot find any model weights with `/m/x`",
                "Exception: WorkerProc initialization failed due to an exception in a background "
                "process. See stack trace for root cause.",
            ],
            FailureKind.MODEL_MISSING,
            "RuntimeError: Cannot find any model weights with `/m/x`",
            id="no weights",
        ),
        pytest.param(
            ["ValueError: Couldn't instantiate the backend tokenizer from one of: "],
            FailureKind.MODEL_MISSING,
            "ValueError: Couldn't instantiate the backend tokenizer from one of:",
            id="no tokenizer",
        ),
        pytest.param(
            [
                "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached "
                "snapshot folder for the specified revision on the local disk and outgoing traffic "
                "has been disabled."
            ],
            FailureKind.MODEL_MISSING,
            "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached "
            "snapshot folder for the specified revision on the local disk and outgoing traffic "
            "has been disabled.",
            id="not in the hub's cache",
        ),
        pytest.param(
            [
                WORKER + "ValueError: Available memory on node 0 (9.47/11.59 GiB) on kv cache "
                "allocation is less than requested memory for kv (100.0 GiB). Decrease "
                "--kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by "
                "other processes."
            ],
            FailureKind.OUT_OF_MEMORY,
            "ValueError: Available memory on node 0 (9.47/11.59 GiB) on kv cache allocation is "
            "less than requested memory for kv (100.0 GiB). Decrease --kv-cache-memory-bytes, "
            "VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other processes.",
            id="KV cache larger than the memory",
        ),
        pytest.param(
            ["OSError: [Errno 98] Address already in use"],
            FailureKind.PORT_TAKEN,
            "OSError: [Errno 98] Address already in use",
            id="port taken",
        ),
        pytest.param(
            ["importlib.metadata.PackageNotFoundError: No package metadata was found for vllm"],
            FailureKind.ENGINE_MISSING,
            "importlib.metadata.PackageNotFoundError: No package metadata was found for vllm",
            id="wheel under another name",
        ),
        pytest.param(
            ["RuntimeError: operator torchvision::nms does not exist"],
            FailureKind.ENGINE_MISSING,
            "RuntimeError: operator torchvision::nms does not exist",
            id="torchvision of another torch",
        ),
        pytest.param(
            [
                PYDANTIC + "1 validation error for ModelConfig",
                "  Value error, The checkpoint you are trying to load has model type `nosuch` but "
                "Transformers does not recognize this architecture.",
                f"You can update Transformers {PYDANTIC_DETAILS}",
                PYDANTIC_END,
            ],
            FailureKind.CRASHED,
            "ValidationError: 1 validation error for ModelConfig: Value error, The checkpoint you "
            "are trying to load has model type `nosuch` but Transformers does not recognize this "
            "architecture. You can update Transformers",
            id="unknown kind of model",
        ),
    ],
)
def test_what_vllm_says_when_it_does_not_start(
    lines: list[str], kind: FailureKind, told: str
) -> None:
    failure = engine(EngineName.VLLM).classify_exit(["Traceback (most recent", *lines], 1)

    assert failure.kind is kind
    assert failure.message == f"vllm exited with code 1: {told}"


def test_vllm_leaves_with_code_zero_when_a_worker_of_its_own_was_killed() -> None:
    lines = [
        "(EngineCore pid=71) ERROR 11-23 13:50:03 [multiproc_executor.py:315] Worker proc "
        "VllmWorker-0 died unexpectedly (exit code: -9), shutting down executor.",
        CORE + "RuntimeError: Executor failed.",
        SERVER + "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
        "INFO:     Finished server process [70]",
    ]

    failure = engine(EngineName.VLLM).classify_exit(lines, 0)

    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert failure.message == (
        "vllm exited with code 0: Worker proc VllmWorker-0 died unexpectedly (exit code: -9), "
        "shutting down executor."
    )


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (
            "(EngineCore pid=71) ERROR 11-23 13:50:03 [multiproc_executor.py:315] Worker proc "
            "VllmWorker-0 died unexpectedly (exit code: -4), shutting down executor.",
            "Worker proc VllmWorker-0 died unexpectedly (exit code: -4), shutting down executor.",
        ),
        (
            "(EngineCore pid=71) ERROR 11-23 14:13:00 [multiproc_executor.py:315] Worker proc "
            "VllmWorker-0 died unexpectedly (exit code: None), shutting down executor.",
            "Worker proc VllmWorker-0 died unexpectedly (exit code: None), shutting down executor.",
        ),
        (
            "(APIServer pid=70) WARNING 11-23 13:57:01 [core_client.py:817] [shutdown] MPClient: "
            "engine core exited unexpectedly; starting cleanup",
            "[shutdown] MPClient: engine core exited unexpectedly; starting cleanup",
        ),
        (WORKER + "RuntimeError: the tensor is odd", "RuntimeError: the tensor is odd"),
    ],
)
def test_a_crash_of_vllm_is_told_by_its_cause_and_not_by_the_echo(cause: str, told: str) -> None:
    lines = [
        "(APIServer pid=70) WARNING 11-23 13:46:17 [system_utils.py:255] Found ulimit of 20000 and "
        "failed to automatically increase. This can cause fd limit errors like `OSError: [Errno "
        "24] Too many open files`.",
        cause,
        SERVER + "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]

    failure = engine(EngineName.VLLM).classify_exit(lines, 1)

    assert failure.kind is FailureKind.CRASHED
    assert failure.message == f"vllm exited with code 1: {told}"


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


@pytest.mark.parametrize(
    ("name", "parameters", "gpus"),
    [
        (EngineName.VLLM, {}, 1),
        (EngineName.VLLM, {"tensor-parallel-size": 4, "max-num-seqs": 64}, 4),
        (
            EngineName.VLLM,
            {"tensor-parallel-size": 2, "pipeline-parallel-size": 3, "data-parallel-size": 4},
            24,
        ),
        (EngineName.VLLM, {"tensor-parallel-size": "8"}, 8),
        (EngineName.VLLM, {"tensor-parallel-size": "eight", "data-parallel-size": True}, 1),
        (EngineName.VLLM, {"tensor-parallel-size": 0, "pipeline-parallel-size": -2}, 1),
        (EngineName.SGLANG, {}, 1),
        (EngineName.SGLANG, {"tp-size": 2, "pp-size": 2, "dp-size": 2}, 8),
        (EngineName.SGLANG, {"tensor-parallel-size": 4, "data-parallel-size": 2}, 8),
        (EngineName.SGLANG, {"tp-size": 8, "dp-size": 8, "enable-dp-attention": True}, 8),
        (EngineName.SGLANG, {"tp-size": 8, "dp-size": 2, "enable-dp-attention": False}, 16),
        (EngineName.LLAMACPP, {}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": 0, "tensor-split": "1,1"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": "0"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": False}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": "many"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99}, 1),
        (EngineName.LLAMACPP, {"gpu-layers": "12"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": "all"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": "auto"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": -1}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "split-mode": "row"}, 1),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "tensor-split": "1,1"}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "tensor-split": "3/1/1"}, 3),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "tensor-split": 1}, 1),
        (EngineName.LLAMACPP, {"tensor-split": "3,1"}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 9, "tensor-split": "1,1", "split-mode": "none"}, 1),
        (EngineName.LLAMACPP, {"device": "CUDA0,CUDA1"}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "device": "CUDA2"}, 3),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "device": "none"}, 0),
        (EngineName.LLAMACPP, {"n-gpu-layers": 9, "split-mode": "none", "main-gpu": 1}, 2),
        (EngineName.LLAMACPP, {"n-gpu-layers": 99, "main-gpu": 1}, 1),
    ],
)
def test_the_gpus_of_one_configuration(
    name: EngineName, parameters: dict[str, FlagValue], gpus: int
) -> None:
    assert engine(name).gpus_needed(parameters) == gpus


@pytest.mark.parametrize("name", list(EngineName))
def test_only_the_flags_it_names_decide_on_gpus(name: EngineName) -> None:
    one = engine(name)
    others = dict.fromkeys(set(one.known_flags) - one.gpu_flags, 7)

    assert one.gpus_needed(others) == one.gpus_needed({})
