"""How vLLM's end is explained, from what it really says then."""

from __future__ import annotations

import pytest

from controllers.engines.catalogue import engine
from tuning.domain.failures import FailureKind
from tuning.domain.names import EngineName

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
