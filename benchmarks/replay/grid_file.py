"""Grids that were measured here, as files that `benchmarks.search` and `benchmarks.pruning` replay.

    python -m benchmarks.replay.grid_file TASK_ID --system smollm2-2cores-chat > NAME.grid.json

Takes a finished task of this installation's database, and has to be run on the machine that ran it.
Each experiment is a configuration with the value of each objective, or with its failure, and with
what each load gave and how long it took; the file also tells machine, engine and task.
`python -m benchmarks.real --record FILE` measures such a grid and writes it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tuning.domain.failures import FailureKind
from tuning.domain.lifecycle import ExperimentStatus
from tuning.domain.measuring.loads import Load
from tuning.domain.metrics import Direction
from tuning.domain.names import FlagValue
from tuning.domain.objectives import NAMED_OBJECTIVES, Objective, metric_objective, values_of

if TYPE_CHECKING:
    from tuning.models import Experiment, Measurement, Task

SUFFIX = ".grid.json"
MEASURED_STATUSES = (ExperimentStatus.SUCCESS.value, ExperimentStatus.FAILED.value)
BASELINE_NUMBER = 0
DURATION = "duration_s"
COLUMNS = (
    DURATION,
    "output_throughput_tokens_per_s",
    "e2e_latency_mean_s",
    "ttft_mean_s",
    "tpot_mean_s",
)
"""What is kept of each load: enough for the objectives that have a name, but goodput."""
DIGITS = 6
"""Significant ones. No measurement is that exact."""
MOST_FAULTS = 3
"""Of a file, told at once."""

Seconds = Annotated[float, Field(ge=0)]


class UnreadableGrid(ValueError):
    """The file is no grid; the text names the file, the field and what is wrong with it."""


class NotAGrid(ValueError):
    """A task can't be kept as a grid; the text says why."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(_Part):
    """Where it was measured."""

    processor: str
    architecture: str
    cores: int
    memory_mib: int


class MeasuredEngine(_Part):
    """What was measured."""

    name: str
    version: str | None


class MeasuredObjective(_Part):
    """What the values of the configurations are."""

    metric: str
    direction: Direction

    def as_objective(self) -> Objective:
        return metric_objective(self.metric, self.direction)


class MeasuredLoad(_Part):
    """One traffic scenario at one concurrency."""

    scenario: str
    concurrency: int


class MeasuredConfiguration(_Part):
    """What launching one configuration gave.

    `metrics` has the value of each objective that could be told, in the metric's unit. `points` has
    a row for each load of the grid, in its order and with its columns; None for what was not
    measured. `duration_s` is the whole experiment's, `deploy_s` from the launch to healthy.
    """

    parameters: dict[str, FlagValue]
    failure: FailureKind | None = None
    duration_s: Seconds
    deploy_s: Seconds | None = None
    metrics: dict[str, float]
    points: tuple[tuple[float | None, ...] | None, ...] = ()


class Grid(_Part):
    """A task that was measured whole. `wall_s` is from its first launch to its end; `baseline` is
    outside the space, and None where the task had none."""

    system: str
    recorded_on: date
    machine: Machine
    engine: MeasuredEngine
    wall_s: Seconds
    task: dict[str, Any]
    objectives: tuple[MeasuredObjective, ...]
    loads: tuple[MeasuredLoad, ...]
    columns: tuple[str, ...]
    baseline: MeasuredConfiguration | None
    configurations: tuple[MeasuredConfiguration, ...]

    @model_validator(mode="after")
    def _rows_fit_the_loads(self) -> Self:
        for index, one in enumerate(self.launched):
            widths = {len(row) for row in one.points if row is not None}
            if len(one.points) not in {0, len(self.loads)} or widths - {len(self.columns)}:
                raise ValueError(
                    f"launch {index} must have no points, or a row of {len(self.columns)} columns "
                    f"(or null) for each of the {len(self.loads)} loads"
                )
        return self

    @property
    def launched(self) -> tuple[MeasuredConfiguration, ...]:
        """All that was launched, the baseline first."""
        return (*([] if self.baseline is None else [self.baseline]), *self.configurations)

    @property
    def traffic(self) -> str:
        """The scenarios, as `D(32,16)+D(256,4)`."""
        return "+".join(dict.fromkeys(load.scenario for load in self.loads))

    def points_of(self, one: MeasuredConfiguration) -> dict[Load, dict[str, float]]:
        """Each load that was measured, with its columns by name."""
        rows = zip(self.loads, one.points, strict=False)
        return {
            Load(load.scenario, load.concurrency): {
                column: value
                for column, value in zip(self.columns, row, strict=True)
                if value is not None
            }
            for load, row in rows
            if row is not None
        }

    def as_text(self) -> str:
        """JSON with a line for each configuration, so that a file of many can be read."""
        fields = self.model_dump(mode="json").items()
        return (
            "{\n"
            + ",\n".join(f" {_quoted(key)}: {_laid_out(one)}" for key, one in fields)
            + "\n}\n"
        )


def _laid_out(value: object) -> str:
    """Lists of documents, and documents of documents, with a line for each."""
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return "[\n" + ",\n".join(f"  {_quoted(one)}" for one in value) + "\n ]"
    if isinstance(value, dict) and any(isinstance(one, dict) for one in value.values()):
        lines = (f"  {_quoted(key)}: {_quoted(one)}" for key, one in value.items())
        return "{\n" + ",\n".join(lines) + "\n }"
    return _quoted(value)


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_grids(folder: Path) -> Iterator[Grid]:
    """All grids of a folder, by file name.

    Raises:
        UnreadableGrid: one of the files is none.
    """
    return (read_grid(path) for path in sorted(folder.glob(f"*{SUFFIX}")))


def read_grid(path: Path) -> Grid:
    """Raises UnreadableGrid, FileNotFoundError."""
    try:
        return Grid.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        shown = "; ".join(fault.removeprefix(": ") for fault in islice(faults, MOST_FAULTS))
        raise UnreadableGrid(f"{path} is no grid as benchmarks.real writes it: {shown}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay.grid_file",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task_id", type=int)
    parser.add_argument("--system", required=True, help="short name of model, machine and traffic")
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autotuner_site.settings")
    import django

    django.setup()
    from tuning.models import Task

    task = Task.objects.filter(pk=options.task_id).first()
    if task is None:
        print(f"There is no task {options.task_id} in this database.", file=sys.stderr)
        return 2
    try:
        print(grid_of(task, options.system).as_text(), end="")
    except NotAGrid as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def grid_of(task: Task, system: str) -> Grid:
    """A task that has ended as a grid.

    Raises:
        NotAGrid: it has not ended, measured nothing, or left out what would not have won anyway.
    """
    from tuning.orchestrator.measuring import traffic_of

    spec = task.parsed_spec()
    launched = _launched(task)
    loads = traffic_of(spec).loads
    objectives = tuple(dict.fromkeys((*spec.objectives, *NAMED_OBJECTIVES.values())))
    entries = {one.number: configuration_of(one, loads, objectives) for one in launched}
    version = launched[0].environment.get("engine_version")
    return Grid(
        system=system,
        recorded_on=(task.finished_at or task.created_at).date(),
        machine=this_machine(),
        engine=MeasuredEngine(name=spec.base_runtime.value, version=version),
        wall_s=rounded(task.duration_s or 0.0),
        task=spec.to_document(),
        objectives=tuple(
            MeasuredObjective(metric=one.metric, direction=one.direction)
            for one in objectives
            if any(one.metric in entry.metrics for entry in entries.values())
        ),
        loads=tuple(
            MeasuredLoad(scenario=load.scenario, concurrency=load.concurrency) for load in loads
        ),
        columns=COLUMNS,
        baseline=entries.pop(BASELINE_NUMBER, None),
        configurations=tuple(entries.values()),
    )


def _launched(task: Task) -> list[Experiment]:
    """The first launch of each configuration, by number. Raises NotAGrid."""
    first = task.experiments.filter(original__isnull=True)
    measured = first.filter(status__in=MEASURED_STATUSES).prefetch_related("measurements")
    launched = list(measured.order_by("number"))
    if not task.state.is_terminal or not launched:
        raise NotAGrid(
            f"Task {task.pk} is {task.status}, with {len(launched)} measured experiments: "
            "only a task that has ended and measured something is a grid."
        )
    if pruned := first.filter(status=ExperimentStatus.PRUNED.value).count():
        raise NotAGrid(
            f"Task {task.pk} has pruned {pruned} experiments, so that their values are not known: "
            'run it again with "pruning": "off".'
        )
    return launched


def configuration_of(
    experiment: Experiment, loads: Sequence[Load], objectives: Sequence[Objective]
) -> MeasuredConfiguration:
    """One configuration, with the repeats of each load reduced to the first."""
    measurements = list(experiment.measurements.all())
    values = values_of([one.as_point() for one in measurements], objectives)
    first = {Load(one.scenario, one.concurrency): one for one in measurements if one.repeat == 0}
    failure = FailureKind(experiment.failure_kind) if experiment.failure_kind else None
    return MeasuredConfiguration(
        parameters=experiment.parameters,
        failure=failure,
        duration_s=rounded(experiment.duration_s or 0.0),
        deploy_s=None if experiment.deploy_s is None else rounded(experiment.deploy_s),
        metrics={
            objective.metric: rounded(value)
            for objective, value in zip(objectives, values, strict=True)
            if value is not None
        },
        points=tuple(_row(first[load]) if load in first else None for load in loads),
    )


def _row(measurement: Measurement) -> tuple[float | None, ...]:
    known = {**measurement.metrics, DURATION: measurement.duration_s}
    values = (known.get(column) for column in COLUMNS)
    return tuple(None if value is None else rounded(value) for value in values)


def rounded(value: float) -> float:
    """To as many digits as are worth keeping."""
    return float(f"{value:.{DIGITS}g}")


def this_machine() -> Machine:
    return Machine(
        processor=_processor() or platform.processor() or "unknown",
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        memory_mib=psutil.virtual_memory().total // (1 << 20),
    )


def _processor() -> str:
    """As Linux calls it; empty on other systems and where it has no name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


if __name__ == "__main__":
    sys.exit(main())
