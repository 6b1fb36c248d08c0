"""A task as JSON: in a list, on a live page, and with all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from tuning.documents.document import Document, Moment
from tuning.documents.experiment import ExperimentDocument
from tuning.documents.front import FrontDocument
from tuning.documents.gain import GainDocument
from tuning.domain.lifecycle import TaskStatus
from tuning.domain.metrics import Direction
from tuning.domain.names import DeploymentMode, EngineName, FlagValue
from tuning.domain.objectives import Objective
from tuning.domain.spec import SearchStrategy
from tuning.domain.verdict import GainVerdict
from tuning.fronts import front_of
from tuning.models import Task
from tuning.progress import TaskProgress, read_progress


class ObjectiveDocument(Document):
    """What makes a configuration better."""

    metric: str = Field(description="A metric's name; its ending is its unit.")
    direction: Direction


class BestDocument(Document):
    """The best experiment of a task; while it runs, the best so far."""

    number: int
    objective_value: float | None = Field(description="In the unit of the objective's metric.")
    parameters: dict[str, FlagValue] = Field(description="The engine's flags, without dashes.")


class ProgressSummary(Document):
    """How far a task has come, and what it has found."""

    finished: int = Field(description="Experiments that have ended, with the baseline.")
    total: int = Field(description="Experiments that there will be, with the baseline.")
    best: BestDocument | None
    gain_over_baseline: float | None = Field(
        description="How much better the best is than the baseline by the first objective, as it "
        "was verified, or else as it was measured: 0.25 for 25 %."
    )
    verdicts: list[GainDocument] = Field(
        description="How sure the gain is, for each objective; empty where there is nothing to "
        "compare."
    )

    @field_validator("verdicts", mode="before")
    @classmethod
    def _in_words(cls, verdicts: list[Any]) -> list[Any]:
        return [GainDocument.of(one) if isinstance(one, GainVerdict) else one for one in verdicts]


class ProgressDocument(ProgressSummary):
    """How far a task has come, what runs, and how long it will take."""

    eta_s: float | None = Field(
        description="Seconds still to go; null before the first experiment has ended."
    )
    running: int | None = Field(description="Number of the experiment that runs.")


class TaskHead(Document):
    """What every document about a task says of it."""

    task_id: int
    name: str
    status: TaskStatus
    is_terminal: bool = Field(description="Whether nothing happens any more unless it is resumed.")
    status_reason: str = Field(description="Why it ended as it did; empty before.")
    cancel_requested: bool
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    objective: ObjectiveDocument = Field(description="The first one, where there are several.")
    objectives: list[ObjectiveDocument]


class LiveTask(TaskHead):
    """A task and its experiments, as a live page shows them."""

    progress: ProgressDocument
    experiments: list[ExperimentDocument]


class TaskDocument(TaskHead):
    """A task in a list."""

    description: str
    owner: str | None = Field(description="User name; null for a task of the command line.")
    engine: EngineName
    deployment_mode: DeploymentMode
    model: str = Field(description="A path, a hub id, or the name of a model.")
    strategy: SearchStrategy
    progress: ProgressSummary


class EarlierTaskDocument(Document):
    """A task that the search started from."""

    task_id: int
    similarity: float = Field(
        description="From 0 to 1: how likely it was held that both have anything in common."
    )
    experiments: list[int] = Field(description="Numbers of its experiments that are learnt from.")


class WarmStartDocument(Document):
    """What the search started from (`optimization.warm_start`)."""

    tasks: list[EarlierTaskDocument] = Field(description="The most similar first.")
    text: str = Field(description="The same in words.")

    @classmethod
    def of(cls, task: Task) -> WarmStartDocument | None:
        """None while it is not decided, or was not asked for."""
        if task.warm_start is None:
            return None
        tasks = [EarlierTaskDocument.model_validate(one) for one in task.earlier_tasks]
        return cls(tasks=tasks, text=task.started_from)


class TaskDetail(TaskDocument):
    """A task with the document it was made from."""

    progress: ProgressDocument
    pareto_front: list[FrontDocument] = Field(
        description="With several objectives: the best in the first one first."
    )
    warm_start: WarmStartDocument | None = Field(
        description="The earlier tasks that the search started from; null while that is not "
        "decided, or was not asked for."
    )
    spec: dict[str, Any] = Field(description="The task document, with every default written out.")


def live_task(task: Task, progress: TaskProgress) -> LiveTask:
    """No query."""
    experiments = [ExperimentDocument.model_validate(one) for one in progress.experiments]
    return LiveTask(
        **_head(task, progress.spec.objectives),
        progress=_progress(progress),
        experiments=experiments,
    )


def task_detail(task: Task) -> TaskDetail:
    """One query for the experiments, and one for the owner unless that was selected."""
    progress = read_progress(task, task.parsed_spec())
    best_id = None if progress.best is None else progress.best.pk
    return TaskDetail(
        **_head(task, progress.spec.objectives),
        **_described(task),
        progress=_progress(progress),
        pareto_front=[
            FrontDocument.of(one) for one in front_of(progress.spec, progress.experiments, best_id)
        ],
        warm_start=WarmStartDocument.of(task),
        spec=task.spec,
    )


def task_document(
    task: Task, objectives: Sequence[Objective], progress: ProgressSummary
) -> TaskDocument:
    """No query, if the owner was selected. `objectives` are those of the task."""
    return TaskDocument(**_head(task, objectives), **_described(task), progress=progress)


def _head(task: Task, objectives: Sequence[Objective]) -> dict[str, Any]:
    return {
        "task_id": task.pk,
        "name": task.name,
        "status": task.state,
        "is_terminal": task.state.is_terminal,
        "status_reason": task.status_reason,
        "cancel_requested": task.cancel_requested_at is not None,
        "created_at": task.created_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "objective": objectives[0],
        "objectives": list(objectives),
    }


def _described(task: Task) -> dict[str, Any]:
    return {
        "description": task.description,
        "owner": None if task.owner is None else task.owner.username,
        "engine": task.spec["base_runtime"],
        "deployment_mode": task.spec["deployment_mode"],
        "model": task.spec["model"]["id_or_path"],
        "strategy": task.spec["optimization"]["strategy"],
    }


def _progress(progress: TaskProgress) -> ProgressDocument:
    eta_s, running = progress.eta_s, progress.running
    return ProgressDocument(
        finished=progress.finished,
        total=progress.total,
        eta_s=None if eta_s is None else round(eta_s, 1),
        running=None if running is None else running.number,
        best=progress.best and BestDocument.model_validate(progress.best),
        gain_over_baseline=progress.gain_over_baseline,
        verdicts=progress.verdicts,
    )
