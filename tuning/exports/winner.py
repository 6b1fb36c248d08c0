"""The best configuration so far, with what is needed to deploy it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from django.conf import settings

from controllers.base import DeploymentError
from controllers.engines.base import Engine
from controllers.engines.catalogue import engine
from tuning.domain.names import FlagValue
from tuning.domain.spec import TaskSpec
from tuning.formatting import metric, metric_label
from tuning.models import Experiment, Task
from tuning.progress import read_progress

MODELS_IN_CONTAINER = PurePosixPath("/models")


class NoWinner(Exception):
    """No experiment has succeeded yet. The text is for the user."""


@dataclass(frozen=True)
class ServedModel:
    """`on_host` is the model's file or directory, None for one that comes from the hub."""

    id_or_path: str
    on_host: Path | None

    @property
    def in_container(self) -> str:
        """What the engine is told: where the model is mounted, or its hub id."""
        if self.on_host is None:
            return self.id_or_path
        return str(MODELS_IN_CONTAINER / self.on_host.name)


@dataclass(frozen=True)
class Winner:
    """`gain` is over the baseline, 0.25 for 25 %; None when that was not measured."""

    task: Task
    spec: TaskSpec
    experiment: Experiment
    gain: float | None
    engine: Engine
    model: ServedModel

    @property
    def parameters(self) -> dict[str, FlagValue]:
        return self.experiment.parameters

    @property
    def gpus(self) -> int:
        """As many as its flags take; none for an engine that was measured without, and may be."""
        if self.engine.runs_without_gpus and self.experiment.environment.get("gpus") == []:
            return 0
        return self.engine.gpus_needed(self.parameters)

    @property
    def title(self) -> str:
        """One line that says where this configuration comes from, for comments."""
        name = " ".join(self.task.name.split())
        which = "the baseline" if self.experiment.is_baseline else "the best"
        objective = self.spec.objective.metric
        value = metric(objective, self.experiment.objective_value)
        return (
            f"Experiment {self.experiment.number}, {which} of task {self.task.pk} ({name}): "
            f"{metric_label(objective)} {value}"
        )


def read_winner(task: Task) -> Winner:
    """The best experiment so far, also of a task that still runs. Two queries.

    Raises:
        NoWinner: no experiment has succeeded yet.
    """
    spec = task.parsed_spec()
    progress = read_progress(task, spec)
    if progress.best is None:
        when = "" if task.state.is_terminal else " yet"
        raise NoWinner(f"Task {task.pk} has no winner{when}: no experiment has succeeded.")
    return Winner(
        task=task,
        spec=spec,
        experiment=Experiment.objects.defer("log_tail").get(pk=progress.best.pk),
        gain=progress.gain_over_baseline,
        # What has been measured may be written down, whatever flags a new task is refused by now.
        engine=engine(spec.base_runtime, settings.AUTOTUNER_LLAMA_SERVER, checks_flags=False),
        model=served_model(spec, settings.AUTOTUNER_MODEL_PATH),
    )


def served_model(spec: TaskSpec, models_dir: Path) -> ServedModel:
    """Where the model is now; for one that is gone, where the task file says that it was."""
    model = spec.model.id_or_path
    try:
        located = engine(spec.base_runtime).locate_model(model, models_dir)
    except DeploymentError:
        located = str(models_dir.absolute() / Path(model).expanduser())
    return ServedModel(model, Path(located) if Path(located).is_absolute() else None)
