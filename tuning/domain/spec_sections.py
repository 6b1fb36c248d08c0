"""The sections of a task file. `tuning.domain.spec` puts them together."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    Strict,
    StrictBool,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tuning.domain.cluster_names import claim_folder, object_name_fault
from tuning.domain.measuring.pruning import Pruning
from tuning.domain.objectives import NAMED_OBJECTIVES, Objective
from tuning.domain.spec_errors import InvalidSection, Problem, Section, shown
from tuning.domain.spec_objective import read_objectives, write_objectives
from tuning.domain.spec_parameters import Integer, Number
from tuning.domain.spec_repeats import AUTO, Repeats, Rounds
from tuning.domain.spec_schema import OBJECTIVE_SCHEMA
from tuning.domain.spec_warm_start import WarmStart
from tuning.domain.traffic import scenario_fault

_OTHER_BENCHMARK_TASKS = (
    "text-to-embeddings",
    "text-to-rerank",
    "text-to-image",
    "text-to-speech",
    "image-text-to-text",
    "image-to-embeddings",
)

ONE_WEEK_S = 604_800
_LONGEST_SCENARIO = 64


class SearchStrategy(StrEnum):
    """How the next configurations are chosen."""

    GRID_SEARCH = "grid_search"
    RANDOM = "random"
    BAYESIAN = "bayesian"


def _in_a_list(value: object) -> object:
    """A single number stands for a list of one; what is no number is left for the list to judge."""
    return [value] if isinstance(value, int | float) else value


def _some_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("must have at least one entry")
    places: dict[Any, int] = {}
    repeated = [index for index, one in enumerate(values) if places.setdefault(one, index) < index]
    if repeated:
        raise InvalidSection(
            Problem((index,), "is there twice; keep one", shown(values[index]))
            for index in repeated
        )
    return values


def _scenario(scenario: str) -> str:
    fault = scenario_fault(scenario)
    if fault:
        raise ValueError(fault)
    return scenario


def _object_name(name: str) -> str:
    fault = object_name_fault(name)
    if fault:
        raise ValueError(fault)
    return name


def _storage(uri: str) -> str:
    return claim_folder(uri).uri


Text = Annotated[str, Strict(), StringConstraints(strip_whitespace=True, min_length=1)]
Count = Annotated[int, Strict(), Field(ge=1, le=1_000_000)]
Scenario = Annotated[Text, Field(max_length=_LONGEST_SCENARIO), AfterValidator(_scenario)]


class ModelSpec(Section):
    """Which model is served."""

    older_keys: ClassVar[tuple[str, ...]] = ("name",)

    id_or_path: Text = Field(
        description="A path, a hub id, or the name of a model known to the cluster.",
        examples=["models/SmolLM2-135M-Instruct.gguf", "meta-llama/Llama-3.2-1B-Instruct"],
    )
    namespace: Annotated[Text, Field(max_length=63)] = Field(
        default="autotuner",
        description="Kubernetes namespace in which OME serves the model; unused otherwise.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_older_name(cls, section: object) -> object:
        if not isinstance(section, Mapping) or "name" not in section or "id_or_path" in section:
            return section
        return {("id_or_path" if key == "name" else key): item for key, item in section.items()}


class OmeMeasuring(StrEnum):
    """Who runs genai-bench against an engine in a cluster."""

    DIRECT = "direct"
    BENCHMARK_JOB = "benchmark_job"


class OmeSpec(Section):
    """How OME serves and measures the model; unused by other deployment modes."""

    runtime: Annotated[Text, AfterValidator(_object_name)] | None = Field(
        default=None,
        description="Name of the ServingRuntime or ClusterServingRuntime that tells how the engine "
        "is run. Left out, the one that OME would choose for the model.",
        examples=["srt-llama-3-2-1b-instruct"],
    )
    measuring: OmeMeasuring = Field(
        default=OmeMeasuring.DIRECT,
        description="`direct` runs genai-bench here, through a port-forward; `benchmark_job` has "
        "OME run it in the cluster.",
    )
    results_storage: Annotated[Text, AfterValidator(_storage)] | None = Field(
        default=None,
        validate_default=True,
        description="Where BenchmarkJobs leave their results: `pvc://<claim>/<folder>`.",
        examples=["pvc://benchmark-results/autotuner"],
    )

    @field_validator("results_storage")
    @classmethod
    def _a_job_needs_storage(cls, storage: str | None, info: ValidationInfo) -> str | None:
        if storage is None and info.data.get("measuring") is OmeMeasuring.BENCHMARK_JOB:
            raise ValueError("must be given for benchmark_job: its results are read from there")
        return storage


class OptimizationSpec(Section):
    """What is searched for, and for how long."""

    strategy: SearchStrategy = Field(
        default=SearchStrategy.GRID_SEARCH,
        description="`grid_search` tries every configuration, `random` draws `max_iterations`, "
        "`bayesian` chooses each from what has been measured so far.",
    )
    objective: Annotated[
        tuple[Objective, ...],
        PlainValidator(read_objectives),
        PlainSerializer(write_objectives),
        WithJsonSchema(OBJECTIVE_SCHEMA),
    ] = Field(
        default=(NAMED_OBJECTIVES["minimize_latency"],),
        description="What makes a configuration better: a name, a metric with a direction, or a "
        "list of 2 to 4 of them, for which a Pareto front is looked for.",
        examples=[
            "maximize_throughput",
            {"metric": "ttft_p99_s", "direction": "minimize"},
            ["maximize_throughput", "minimize_ttft"],
        ],
    )
    max_iterations: Count | None = Field(
        default=None,
        validate_default=True,
        description="At most this many configurations, the baseline not counted. Without it, "
        "grid_search tries them all.",
        examples=[20],
    )
    timeout_per_iteration: Annotated[Number, Field(gt=0, le=ONE_WEEK_S)] = Field(
        default=600.0,
        description="Seconds after which a phase of one experiment is given up: first starting "
        "the engine, then measuring it.",
    )
    max_parallel: Count | None = Field(
        default=None,
        description="At most this many experiments side by side. Left out, as many as there are "
        "GPUs for, and one at a time where engines take none.",
        examples=[2],
    )
    seed: Integer = Field(default=0, description="Another seed draws other random configurations.")
    baseline: StrictBool = Field(
        default=True,
        description="Measure the engine with none of the tuned flags first, for comparison.",
    )
    verification: Rounds = Field(
        default=3,
        description="At the end the winner and the baseline are launched and measured again in "
        "turn, so many times each; 0 leaves that out. Without a baseline it is the runner-up.",
    )
    pruning: Pruning = Field(
        default=Pruning.SAFE,
        description="`safe` leaves out loads once a configuration surely can't become the best one "
        "or they can't change its value, `aggressive` when that is unlikely, `off` never.",
    )
    warm_start: WarmStart = Field(
        default=False,
        description="Start from what earlier tasks have measured: `true` picks the most similar "
        "ones, a list of task numbers names them. Only for `bayesian`.",
        examples=[True, [12, 14]],
    )

    @field_validator("max_iterations")
    @classmethod
    def _only_a_grid_ends(cls, limit: int | None, info: ValidationInfo) -> int | None:
        strategy = info.data.get("strategy")
        if limit is None and strategy in {SearchStrategy.RANDOM, SearchStrategy.BAYESIAN}:
            raise ValueError(
                f"must be given for the {strategy} strategy, which has no end of its own"
            )
        return limit


class BenchmarkSpec(Section):
    """How each configuration is measured, in genai-bench's own terms."""

    task: Literal["text-to-text"] = Field(
        default="text-to-text", description="genai-bench's task; only text-to-text can be tuned."
    )
    model_name: Text | None = Field(
        default=None,
        description="Name under which the engine serves the model. Left out, the last part of "
        "`model.id_or_path`, without `.gguf`.",
        examples=["llama-3-2-1b-instruct"],
    )
    model_tokenizer: Text | None = Field(
        default=None,
        description="Directory or hub id of the tokenizer that counts tokens. Left out, the "
        "model's own.",
        examples=["meta-llama/Llama-3.2-1B-Instruct"],
    )
    traffic_scenarios: Annotated[tuple[Scenario, ...], AfterValidator(_some_distinct)] = Field(
        default=("D(100,100)",),
        description="Token counts of a request, input then output: `D(in,out)` exactly, "
        "`N(mean,stddev)/(mean,stddev)` normal, `U(max,max)` or `U(min,max)/(min,max)` uniform.",
        examples=[["D(100,100)", "N(480,240)/(300,150)"]],
        json_schema_extra={"minItems": 1, "uniqueItems": True},
    )
    num_concurrency: Annotated[
        tuple[Count, ...],
        BeforeValidator(_in_a_list, json_schema_input_type=Count | tuple[Count, ...]),
        AfterValidator(_some_distinct),
    ] = Field(
        default=(1,),
        description="Requests under way at the same time. Every scenario is measured at each.",
        examples=[[1, 4, 16], 8],
    )
    max_time_per_iteration: Count = Field(
        default=10, description="Minutes after which a load point ends."
    )
    max_requests_per_iteration: Count = Field(
        default=100, description="Requests after which a load point ends, if that comes first."
    )
    warmup: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] = Field(
        default=4, description="Requests sent before measuring, and not counted."
    )
    repeats: Repeats = Field(
        default=1,
        description="How often each load point is measured; the median counts. `auto` measures "
        "once, and launches those again that may still be the best once all were tried.",
    )
    additional_params: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields added to each request, with their JSON types kept.",
        examples=[{"temperature": 0.0, "ignore_eos": True}],
    )

    @property
    def repeats_per_launch(self) -> int:
        """How often a load point is measured while its engine is up."""
        return 1 if self.repeats == AUTO else self.repeats

    @field_validator("task", mode="before")
    @classmethod
    def _only_text(cls, task: object) -> object:
        if task in _OTHER_BENCHMARK_TASKS:
            raise ValueError(
                'must be "text-to-text": genai-bench measures other tasks too, but with other '
                "loads and metrics than those that are tuned here"
            )
        return task
