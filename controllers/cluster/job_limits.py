"""What a BenchmarkJob of OME can't do of a task, said before anything is started.

Sources: OME v0.1.5, `pkg/controller/v1beta1/benchmark/controller.go` and `utils/utils.go`, which
make genai-bench's command line. An `endpoint` instead of an `inferenceService` would leave the
model's name free, but gives genai-bench no tokenizer and no key, and it refuses both (0.0.5,
`cli/validation.py`). So jobs name their InferenceService, and the rest follows from that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuning.domain.cluster_names import JOB_MODEL_NAME
from tuning.domain.names import EngineName

SENT_ANYWAY: Mapping[str, Any] = {"temperature": 0.0, "ignore_eos": True}
"""What genai-bench sends without being told (0.0.5, `user/openai_user.py`, `sampling/text.py`)."""

_IGNORE_THE_NAME = frozenset({EngineName.SGLANG, EngineName.LLAMACPP})
"""Engines that answer whatever a request calls the model."""


@dataclass(frozen=True)
class JobLimit:
    """`field` is where it stands in the task file. With `refuses` the task can't be measured as it
    was written; otherwise it can, but not quite as it says."""

    field: str
    sentence: str
    refuses: bool


def job_limits(
    *,
    engine: EngineName,
    model_name: str,
    tokenizer: str | None,
    additional_params: Mapping[str, Any],
    api_key: str | None = None,
) -> list[JobLimit]:
    """All that a BenchmarkJob can't do of a task, in the order of the task file.

    `model_name` is the name under which the engine serves the model, `tokenizer` what the task
    itself names, if anything, and `api_key` what engines ask their clients for.
    """
    return [
        *_of_the_name(engine, model_name),
        *_of_the_tokenizer(tokenizer),
        *_of_the_params(additional_params),
        *_of_the_key(api_key),
    ]


def _of_the_name(engine: EngineName, model_name: str) -> Iterator[JobLimit]:
    if model_name != JOB_MODEL_NAME and engine not in _IGNORE_THE_NAME:
        yield JobLimit(
            "benchmark.model_name",
            f"must be {JOB_MODEL_NAME} or left out: BenchmarkJobs ask for the model by that name, "
            f"and {engine} answers to its own alone.",
            refuses=True,
        )


def _of_the_tokenizer(tokenizer: str | None) -> Iterator[JobLimit]:
    if tokenizer is not None:
        yield JobLimit(
            "benchmark.model_tokenizer",
            "is not used: BenchmarkJobs count tokens with the tokenizer beside the weights.",
            refuses=False,
        )


def _of_the_params(params: Mapping[str, Any]) -> Iterator[JobLimit]:
    lost = sorted(
        name
        for name, value in params.items()
        if name not in SENT_ANYWAY or value != SENT_ANYWAY[name]
    )
    if lost:
        yield JobLimit(
            "benchmark.additional_params",
            f"has {', '.join(lost)}, which OME does not pass on to genai-bench; leave them out, or "
            'set ome.measuring to "direct".',
            refuses=True,
        )


def _of_the_key(api_key: str | None) -> Iterator[JobLimit]:
    if api_key is not None:
        yield JobLimit(
            "ome.measuring",
            "must be direct where engines ask for a key (AUTOTUNER_BENCHMARK_API_KEY): a "
            "BenchmarkJob sends one of OME's.",
            refuses=True,
        )
