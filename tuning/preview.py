"""What a task would do, before anybody starts it: for the form, the API and the editor tab."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from controllers.base import Controller, DeploymentError, DeploymentIdentity, DeploymentRequest
from controllers.engines.base import Engine
from controllers.registry import DeploymentModeUnavailable
from tuning import formatting
from tuning.composition import build_controller
from tuning.domain.counting import Extent, configuration_at, extent_of
from tuning.domain.names import DeploymentMode, FlagValue
from tuning.domain.parameters import Configuration
from tuning.domain.planning import may_leave_out_loads, verifying_launches
from tuning.domain.search import build_strategy
from tuning.domain.space import SpaceError
from tuning.domain.spec import InvalidTask, Problem, SearchStrategy, TaskSpec, parse_task
from tuning.estimates import Capacity, estimated_experiment_s, estimated_total_s
from tuning.flag_findings import engine_of, flag_problems, flag_warnings
from tuning.gpu_findings import gpu_findings, hosts_for
from tuning.measuring_findings import measuring_findings
from tuning.orchestrator.plan import deployment_request

MANY_RUNS = 200
"""More experiments than this are worth a second thought."""

_MOST_FORESEEN = 1_000
"""The last configuration is told only if no more than this have to be gone through before it."""

_CONTAINER_ADDRESS = ("0.0.0.0", 8000)


@dataclass(frozen=True)
class Preview:
    """`problems` is empty for a valid task; the rest is only known then.

    `configurations` counts experiments with the baseline, and is a lower bound when
    `is_complete` is False; verification launches some of them again. `estimate_s` is seconds for
    all of that, as many side by side as there is room for; `gpus_needed` is the most that any one
    configuration takes. The commands are those of the first and the last configuration; the last
    is None when it can't be told without going through thousands.
    """

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    configurations: int | None = None
    verifying_launches: int = 0
    is_complete: bool = True
    estimate_s: float | None = None
    gpus_needed: int | None = None
    first_command: tuple[str, ...] | None = None
    last_command: tuple[str, ...] | None = None

    @property
    def has_many_runs(self) -> bool:
        return self.configurations is not None and self.configurations > MANY_RUNS


def preview_task(document: str | bytes | Mapping[str, Any]) -> Preview:
    """Never raises for a document that is wrong: that is what it is there to say."""
    try:
        spec = parse_task(document)
    except InvalidTask as invalid:
        return Preview(problems=invalid.problems)
    engine = engine_of(spec.base_runtime)
    hosts = hosts_for(spec)
    found = gpu_findings(spec, engine, hosts)
    measuring = measuring_findings(spec)
    problems = flag_problems(spec, engine, hosts.most_gpus) or found.problems
    problems = (*problems, *measuring.problems)
    if problems:
        return Preview(problems=problems)
    extent = extent_of(spec.space(), engine.gpu_flags)
    runs, is_complete = _runs(spec, extent)
    experiment_s, _ = estimated_experiment_s(spec)
    verifying = verifying_launches(spec, runs)
    total_s = estimated_total_s(runs, experiment_s, Capacity().runs_at_once(spec))
    total_s += verifying * experiment_s
    first, last = _first_configuration(spec), _last_configuration(spec, extent, runs)
    of_flags = [*flag_warnings(spec, engine, hosts.most_gpus), *found.warnings, *measuring.warnings]
    return Preview(
        warnings=tuple(_warnings(spec, of_flags, runs, total_s)),
        configurations=runs,
        verifying_launches=verifying,
        is_complete=is_complete,
        estimate_s=total_s,
        gpus_needed=max((engine.gpus_needed(flags) for flags in extent.watched), default=0)
        or engine.gpus_needed({}),
        first_command=None if first is None else _command(spec, engine, first),
        last_command=None if last is None else _command(spec, engine, last),
    )


def as_document(preview: Preview) -> dict[str, Any]:
    """The preview as JSON values; each problem with its path, message and value."""
    problems = [
        {"path": problem.path, "message": problem.message, "value": problem.value}
        for problem in preview.problems
    ]
    return asdict(preview) | {"problems": problems}


def mode_refusal(mode: DeploymentMode) -> str | None:
    """Why tasks of this mode can't be started here, or None when they can."""
    try:
        _controller(mode, settings.AUTOTUNER_MODEL_PATH)
    except DeploymentModeUnavailable as refusal:
        return str(refusal)
    return None


@functools.lru_cache(maxsize=8)
def _controller(mode: DeploymentMode, models_dir: Path) -> Controller:
    """One for all keystrokes: building one takes longer than everything else in a preview."""
    return build_controller(mode, models_dir)


def _runs(spec: TaskSpec, extent: Extent) -> tuple[int, bool]:
    """Experiments with the baseline, and whether that is all of them."""
    limit, baseline = spec.optimization.max_iterations, int(spec.optimization.baseline)
    if limit is not None and (extent.size is None or extent.size >= limit):
        return limit + baseline, True
    # Only grid search has no limit, and it takes no continuous space.
    return (extent.size or 0) + baseline, extent.is_complete


def _first_configuration(spec: TaskSpec) -> Configuration | None:
    if spec.optimization.baseline:
        return spec.space().baseline()
    return _proposal(spec, 0)


def _last_configuration(spec: TaskSpec, extent: Extent, runs: int) -> Configuration | None:
    limit, space = spec.optimization.max_iterations, spec.space()
    if spec.optimization.strategy is SearchStrategy.BAYESIAN:
        # It follows from what will be measured.
        return None
    is_grid = spec.optimization.strategy is SearchStrategy.GRID_SEARCH
    is_cut = limit is not None and (extent.size is None or limit < extent.size)
    if is_grid and not is_cut:
        return extent.last
    index = runs - int(spec.optimization.baseline) - 1
    if is_grid and not space.constraints:
        return configuration_at(space, index)
    return _proposal(spec, index) if 0 <= index < _MOST_FORESEEN else None


def _proposal(spec: TaskSpec, index: int) -> Configuration | None:
    try:
        proposals = build_strategy(spec).ask([], index + 1)
    except SpaceError:
        return None
    return proposals[-1].parameters if proposals else None


def _command(
    spec: TaskSpec, engine: Engine, parameters: Mapping[str, FlagValue]
) -> tuple[str, ...] | None:
    request = _request(spec, parameters)
    try:
        return _controller(spec.deployment_mode, settings.AUTOTUNER_MODEL_PATH).command_line(
            request
        )
    except DeploymentModeUnavailable:
        program, *arguments = engine.local_command(
            request.model, request.served_model_name, *_CONTAINER_ADDRESS, parameters
        ).argv
        # Where the program lies on this host means nothing in a container.
        return (Path(program).name, *arguments)
    except DeploymentError:
        return None


def _request(spec: TaskSpec, parameters: Mapping[str, FlagValue]) -> DeploymentRequest:
    identity = DeploymentIdentity(settings.AUTOTUNER_INSTANCE, 0, 0, 1)
    return deployment_request(spec, identity, parameters)


def _warnings(spec: TaskSpec, of_flags: Sequence[str], runs: int, total_s: float) -> Iterator[str]:
    refusal = mode_refusal(spec.deployment_mode)
    if refusal:
        yield f"{refusal} The task can be saved as a draft, but not started."
    elif spec.deployment_mode is DeploymentMode.LOCAL:
        failure = _controller(spec.deployment_mode, settings.AUTOTUNER_MODEL_PATH).check(
            _request(spec, {})
        )
        if failure:
            yield failure.message
    yield from of_flags
    if runs > MANY_RUNS:
        yield f"{runs:,} experiments are a lot. Bayesian search finds good values with far fewer."
    limit_s = settings.AUTOTUNER_TASK_TIME_LIMIT_S
    if total_s > limit_s:
        takes = "may take" if may_leave_out_loads(spec) else "takes"
        yield (
            f"This {takes} longer than {formatting.duration(limit_s)}, after which a task is "
            "cancelled; it keeps what was measured until then."
        )
