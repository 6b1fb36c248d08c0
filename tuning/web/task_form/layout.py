"""What the form asks for: its fields and rows, and where each stands in a task document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic.fields import FieldInfo

from tuning.domain.measuring.pruning import Pruning
from tuning.domain.metrics import Direction
from tuning.domain.names import DeploymentMode, EngineName
from tuning.domain.objectives import NAMED_OBJECTIVES
from tuning.domain.spec import SearchStrategy, TaskSpec
from tuning.domain.spec_sections import OmeMeasuring

ANY_METRIC = "metric"
"""The choice of the objective that means "the metric and direction below"."""


class Kind(StrEnum):
    """How a field's text becomes a JSON value."""

    TEXT = "text"
    LINES = "lines"
    NUMBER = "number"
    NUMBERS = "numbers"
    JSON = "json"
    SWITCH = "switch"
    CHOICE = "choice"


@dataclass(frozen=True)
class Field:
    """A single input. `path` is its place in the task document and its name in the form.

    `modes` are the deployment modes in which it matters; none means all.
    """

    path: str
    label: str
    kind: Kind
    options: tuple[tuple[str, str], ...] = ()
    modes: tuple[DeploymentMode, ...] = ()
    help_text: str = ""

    @property
    def location(self) -> tuple[str, ...]:
        return tuple(self.path.split("."))

    @property
    def slot(self) -> str:
        return self.path.replace(".", "-")

    @property
    def help(self) -> str:
        return self.help_text or (spec_field(self.path).description or "")

    @property
    def default(self) -> Any:
        """As it would stand in a task file; None where there is none."""
        value = spec_field(self.path).get_default(call_default_factory=True)
        return list(value) if isinstance(value, tuple) else value


def spec_field(path: str) -> FieldInfo:
    model: Any = TaskSpec
    *sections, name = path.split(".")
    for section in sections:
        model = model.model_fields[section].annotation
    field: FieldInfo = model.model_fields[name]
    return field


def _same(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, name) for name in names)


_ENGINES = (
    (EngineName.LLAMACPP.value, "llama.cpp"),
    (EngineName.VLLM.value, "vLLM"),
    (EngineName.SGLANG.value, "SGLang"),
)
_MODES = (
    (DeploymentMode.LOCAL.value, "local (process)"),
    (DeploymentMode.DOCKER.value, "docker (container)"),
    (DeploymentMode.OME.value, "ome (cluster)"),
)
_STRATEGIES = (
    (SearchStrategy.GRID_SEARCH.value, "grid search"),
    (SearchStrategy.RANDOM.value, "random"),
    (SearchStrategy.BAYESIAN.value, "bayesian"),
)
_MEASURING = (
    (OmeMeasuring.DIRECT.value, "from here, directly"),
    (OmeMeasuring.BENCHMARK_JOB.value, "by a BenchmarkJob"),
)
_PRUNINGS = (
    (Pruning.SAFE.value, "safe"),
    (Pruning.AGGRESSIVE.value, "aggressive"),
    (Pruning.OFF.value, "off: measure everything"),
)
_IN_CONTAINERS = (DeploymentMode.DOCKER, DeploymentMode.OME)
_IN_CLUSTER = (DeploymentMode.OME,)

BASICS = (
    Field("task_name", "Name", Kind.TEXT),
    Field(
        "base_runtime", "Engine", Kind.CHOICE, _ENGINES, help_text="The inference server to tune."
    ),
    Field("deployment_mode", "Deployment mode", Kind.CHOICE, _MODES),
    Field("model.id_or_path", "Model", Kind.TEXT),
    Field("benchmark.model_name", "Served name", Kind.TEXT),
    Field("benchmark.model_tokenizer", "Tokenizer", Kind.TEXT),
    Field("runtime_image", "Image", Kind.TEXT, modes=_IN_CONTAINERS),
    Field("runtime_image_tag", "Image tag", Kind.TEXT, modes=_IN_CONTAINERS),
)
CLUSTER = (
    Field("model.namespace", "Namespace", Kind.TEXT, modes=_IN_CLUSTER),
    Field("ome.runtime", "Serving runtime", Kind.TEXT, modes=_IN_CLUSTER),
    Field("ome.measuring", "Measuring", Kind.CHOICE, _MEASURING, modes=_IN_CLUSTER),
    Field("ome.results_storage", "Results of BenchmarkJobs", Kind.TEXT, modes=_IN_CLUSTER),
)
DESCRIPTION = (Field("description", "Description", Kind.LINES),)
OPTIMIZATION = (
    Field("optimization.strategy", "Strategy", Kind.CHOICE, _STRATEGIES),
    Field("optimization.max_iterations", "At most (configurations)", Kind.NUMBER),
    Field("optimization.timeout_per_iteration", "Timeout of a phase (s)", Kind.NUMBER),
    Field(
        "optimization.max_parallel",
        "Side by side (experiments)",
        Kind.NUMBER,
        help_text="Left empty: as many as there are GPUs for.",
    ),
    Field("optimization.seed", "Seed", Kind.NUMBER),
    Field(
        "optimization.verification",
        "Verify the winner (rounds)",
        Kind.NUMBER,
        help_text="At the end winner and baseline are launched and measured again in turn, so many "
        "times each. 0 leaves it out.",
    ),
    Field("optimization.baseline", "Measure a baseline first", Kind.SWITCH),
    Field("optimization.pruning", "Stop early (pruning)", Kind.CHOICE, _PRUNINGS),
)
BENCHMARK = (
    Field(
        "benchmark.num_concurrency",
        "Concurrencies",
        Kind.NUMBERS,
        help_text="Requests under way at the same time, such as 1, 4, 16. Every scenario is "
        "measured at each.",
    ),
    Field("benchmark.max_requests_per_iteration", "Requests per load point", Kind.NUMBER),
    Field("benchmark.max_time_per_iteration", "Minutes per load point", Kind.NUMBER),
    Field("benchmark.warmup", "Warm-up requests", Kind.NUMBER),
    Field(
        "benchmark.repeats",
        "Repeats",
        Kind.NUMBER,
        help_text="How often each load point is measured. auto measures once, and launches those "
        "again that may still be the best.",
    ),
)
REQUESTS = (Field("benchmark.additional_params", "Fields added to each request (JSON)", Kind.JSON),)
FIELDS = (*BASICS, *CLUSTER, *DESCRIPTION, *OPTIMIZATION, *BENCHMARK, *REQUESTS)

OBJECTIVE = ("optimization", "objective")
OBJECTIVE_SLOT = "optimization-objective"
"""The place for what is wrong with several objectives together."""
OBJECTIVE_OPTIONS = (
    *((name, name.replace("_", " ")) for name in NAMED_OBJECTIVES),
    (ANY_METRIC, "another metric …"),
)
DIRECTION_OPTIONS = _same(tuple(Direction))
HARDNESS_OPTIONS = (("hard", "hard: never wins"), ("soft", "soft: a penalty"))

WARM_START = ("optimization", "warm_start")
NO_TASKS, SIMILAR_TASKS, NAMED_TASKS = "no", "similar", "named"
WARM_START_OPTIONS = (
    (NO_TASKS, "no: begin anew"),
    (SIMILAR_TASKS, "similar tasks"),
    (NAMED_TASKS, "these tasks …"),
)
WARM_START_NAMES = ("optimization.warm_start", "optimization.warm_start.tasks")
WARM_START_SLOTS = ("optimization-warm_start", "optimization-warm_start-tasks")
"""Two inputs for one value: a choice, and the numbers that one of the choices wants."""

SINGLE_NAMES = (*(field.path for field in FIELDS), *WARM_START_NAMES)

ROWS: Mapping[str, tuple[str, ...]] = {
    "parameters": ("name", "values"),
    "constraints": ("text",),
    "slo": ("metric", "max", "min", "hard", "weight", "fail_ratio", "steepness"),
    "scenarios": ("text",),
    "objectives": ("name", "metric", "direction"),
}
"""The inputs of each group of rows. In the form they are called `parameters-name` and so on."""

SLO_NUMBERS = ("max", "min", "weight", "fail_ratio", "steepness")
