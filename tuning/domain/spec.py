"""The task file: what a user asks to be tuned.

One model for the command line, the API, the form and the JSON Schema. Read a file with
`parse_task`; everything that is wrong with it is reported at once. docs/TASK_FILE.md is the
reference for users.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    Strict,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from tuning.domain.cluster_names import JOB_MODEL_NAME, with_older_runtime
from tuning.domain.image_names import image_name_fault
from tuning.domain.names import DeploymentMode, EngineName
from tuning.domain.objectives import Objective
from tuning.domain.parameters import Parameter
from tuning.domain.slo import Slo, with_implicit_slos
from tuning.domain.space import ParameterSpace
from tuning.domain.spec_checks import nothing_left, problems_between_sections, read_constraints
from tuning.domain.spec_document import load_document, read_document, unusable_values
from tuning.domain.spec_errors import InvalidTask, Problem, Section, problems_of
from tuning.domain.spec_parameters import read_parameters, write_parameters
from tuning.domain.spec_schema import completed
from tuning.domain.spec_sections import (
    BenchmarkSpec,
    ModelSpec,
    OmeMeasuring,
    OmeSpec,
    OptimizationSpec,
    SearchStrategy,
    Text,
)
from tuning.domain.spec_slo import read_slos, write_slos

__all__ = [
    "InvalidTask",
    "Problem",
    "SearchStrategy",
    "TaskSpec",
    "parse_task",
    "read_document",
    "task_json_schema",
]


def _image_name(name: str) -> str:
    fault = image_name_fault(name)
    if fault:
        raise ValueError(fault)
    return name


class TaskSpec(Section):
    """A whole task file."""

    task_name: Annotated[Text, Field(max_length=100)] = Field(
        description="What the task is called in lists.", examples=["smollm-on-two-cores"]
    )
    description: Annotated[str, Strict(), Field(max_length=10_000)] = Field(
        default="", description="Anything worth knowing about the task."
    )
    deployment_mode: DeploymentMode = Field(
        default=DeploymentMode.OME,
        description="Where engines run: as a process of this host, in Docker, or in a cluster "
        "through OME.",
    )
    model: ModelSpec = Field(description="Which model is served.")
    base_runtime: EngineName = Field(description="The engine.", examples=["llamacpp"])
    runtime_image: Annotated[Text, AfterValidator(_image_name)] | None = Field(
        default=None,
        description="Container image to use instead of the engine's own, without its tag; unused "
        "by `local`.",
        examples=["registry.example/team/sglang"],
    )
    runtime_image_tag: Text | None = Field(
        default=None,
        description="Tag of the engine's container image; unused by `local`.",
        examples=["v0.5.2-cu126"],
    )
    parameters: Annotated[
        dict[str, Parameter],
        PlainValidator(read_parameters),
        PlainSerializer(write_parameters),
        WithJsonSchema({"type": "object"}),
    ] = Field(
        description="The engine's own flags, without dashes in front: a value fixes a flag, a "
        "list or a range is searched over.",
        examples=[{"threads": [1, 2], "parallel": {"type": "int", "low": 1, "high": 8}}],
    )
    constraints: tuple[Annotated[str, Strict()], ...] = Field(
        default=(),
        description="Conditions that every configuration keeps.",
        examples=[["tp-size * dp-size <= 8"]],
    )
    ome: OmeSpec = Field(
        default_factory=OmeSpec, description="How OME serves and measures the model."
    )
    optimization: OptimizationSpec = Field(
        default_factory=OptimizationSpec, description="What is searched for, and for how long."
    )
    slo: Annotated[
        tuple[Slo, ...],
        PlainValidator(read_slos),
        PlainSerializer(write_slos),
        WithJsonSchema({"type": "object"}),
    ] = Field(
        default=(),
        description="Limits that a configuration must keep, at every load point.",
        examples=[{"ttft_p99_s": 0.5}, {"e2e_latency": {"p90": {"max": 5.0, "hard": False}}}],
    )
    benchmark: BenchmarkSpec = Field(
        default_factory=BenchmarkSpec, description="How each configuration is measured."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _report_all_problems_at_once(
        cls, document: Any, handler: ModelWrapValidatorHandler[Self]
    ) -> Self:
        if isinstance(document, cls):
            return document
        problems = []
        if isinstance(document, Mapping):
            problems += unusable_values(document)
            document, unread = with_older_runtime(document)
            problems += unread
        try:
            spec = handler(document)
        except ValidationError as error:
            problems += problems_of(error, cls)
        if isinstance(document, Mapping):
            problems += problems_between_sections(document)
        if not problems:
            problems += nothing_left(spec.space())
        if problems:
            raise InvalidTask(_one_for_each_place(problems))
        return spec

    @property
    def objective(self) -> Objective:
        return self.optimization.objective

    @property
    def slos(self) -> tuple[Slo, ...]:
        """The limits of the file and those that hold for every task."""
        return with_implicit_slos(self.slo)

    @property
    def served_model_name(self) -> str:
        """What clients put into a request's `model`."""
        if self.benchmark.model_name is not None:
            return self.benchmark.model_name
        if self.is_measured_by_jobs:
            return JOB_MODEL_NAME
        last_part = PurePosixPath(self.model.id_or_path).name or self.model.id_or_path
        return last_part[: -len(".gguf")] if last_part.lower().endswith(".gguf") else last_part

    @property
    def is_measured_by_jobs(self) -> bool:
        """Whether OME runs genai-bench, and not this installation."""
        in_cluster = self.deployment_mode is DeploymentMode.OME
        return in_cluster and self.ome.measuring is OmeMeasuring.BENCHMARK_JOB

    def space(self) -> ParameterSpace:
        """The configurations that may be tried."""
        return ParameterSpace(self.parameters, read_constraints(self.constraints, self.parameters))

    def to_document(self) -> dict[str, Any]:
        """The normalised task file: JSON values that `parse_task` reads back as an equal spec."""
        return self.model_dump(mode="json")


def parse_task(document: str | bytes | Mapping[str, Any]) -> TaskSpec:
    """Read a task file, as text or already as values.

    Raises:
        InvalidTask: with everything that is wrong with it.
    """
    return TaskSpec.model_validate(load_document(document))


def task_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a task file, as editors and forms use it.

    It knows all forms that are read, but not what spans several fields: what it accepts may
    still be refused by `parse_task`, never the other way round.
    """
    return completed(TaskSpec.model_json_schema())


def _one_for_each_place(problems: list[Problem]) -> list[Problem]:
    """The first problem of each place: what comes after it mostly follows from it."""
    by_place: dict[tuple[str | int, ...], Problem] = {}
    for problem in problems:
        by_place.setdefault(problem.location, problem)
    return list(by_place.values())
