"""Which earlier tasks a search starts from (`optimization.warm_start`), and what they measured.

That is decided once, when a task starts, and remembered with it: a task that ends meanwhile must
not change what the same history leads to. A task learns only from those that its owner may see;
one without an owner (of the command line, or of somebody who is gone) is seen only by those who
see all tasks, and so may learn from all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, QuerySet

from tuning.domain.carrying_over import FEWEST_CONFIGURATIONS, carried_over, in_new_space
from tuning.domain.lifecycle import ExperimentPurpose, ExperimentStatus
from tuning.domain.names import FlagValue
from tuning.domain.pareto import Point
from tuning.domain.similarity import (
    have_same_penalties,
    obstacle,
    probabilities_of_use,
    similarity,
)
from tuning.domain.spec import InvalidTask, Problem, TaskSpec
from tuning.domain.spec_errors import shown
from tuning.domain.spec_warm_start import WARM_START_PATH
from tuning.domain.warm_start import EarlierTask
from tuning.models import Experiment, Task
from tuning.orchestrator.known_hardware import KnownHardware

MOST_LOOKED_AT = 100
"""Of a user's tasks of the same engine, the newest."""
MOST_COMPARED = 20
"""Of these, the most similar by their task files: what they measured is read."""
MOST_TASKS = 5
"""The search looks at 60 earlier experiments at most; of more tasks it would see too few each."""
LEAST_SIMILARITY = 0.1
"""What is less alike is not picked. A task that is named is used all the same …"""
NAMED_AT_LEAST = 0.3
"""… and with this similarity at least, since somebody who knows both has chosen it."""
MOST_EXPERIMENTS = 30
"""Of one task, from the best to the worst alike; more would outweigh what is measured anew."""

_MEASURED = {
    "purpose": ExperimentPurpose.SEARCH.value,
    "status": ExperimentStatus.SUCCESS.value,
    "score__isnull": False,
}
_READ = (
    "task_id",
    "number",
    "parameters",
    "score",
    "objective_value",
    "objective_scores",
    "objective_values",
)

Result = tuple[Mapping[str, FlagValue], Point]
"""A configuration, and its score by each objective."""


@dataclass(frozen=True)
class LearntFrom:
    """What a search learns from one earlier task, in its own space and by its own objectives.
    `probability` is how likely that is of any use."""

    probability: float
    results: Sequence[Result]


def refuse_useless(spec: TaskSpec, owner: User | None) -> None:
    """Nothing, if everything that the task file names can be learnt from.

    Raises:
        InvalidTask: with what is wrong with each task that can't.
    """
    problems = useless(spec, owner)
    if problems:
        raise InvalidTask(problems)


def useless(spec: TaskSpec, owner: User | None) -> tuple[Problem, ...]:
    """A problem for each task that is named and can't be learnt from by a task of `owner`."""
    named = spec.optimization.warm_start
    if isinstance(named, bool):
        return ()
    tasks = _visible(owner).in_bulk(list(named))
    measured = _measured_by_task(tasks)
    found = []
    for index, number in enumerate(named):
        task = tasks.get(number)
        fault: str | None = "is no task, or belongs to somebody else"
        if task is not None:
            fault = _fault(spec, task, measured[number])
        if fault:
            found.append(Problem((*WARM_START_PATH, index), fault, shown(number)))
    return tuple(found)


def decide(task: Task, spec: TaskSpec) -> None:
    """Choose what the search of a task starts from, unless that is decided or not asked for."""
    if spec.optimization.warm_start is False or task.warm_start is not None:
        return
    task.warm_start = [one.as_document() for one in _chosen(task, spec)]
    task.save(update_fields=["warm_start"])


def learnt_from(task: Task, spec: TaskSpec) -> list[LearntFrom]:
    """What the tasks that were chosen have measured.

    Those that are gone are left out, and those that the owner may not see any more.
    """
    earlier = task.earlier_tasks
    if not earlier:
        return []
    tasks = _visible(task.owner).in_bulk([one.task_id for one in earlier])
    measured = _measured_by_task(tasks)
    found: list[tuple[float, Sequence[Result]]] = []
    for one in earlier:
        their_spec = _readable(tasks.get(one.task_id))
        if their_spec is None:
            continue
        chosen = [row for row in measured[one.task_id] if row.number in one.experiments]
        results = _results(spec, their_spec, chosen)
        if results:
            found.append((one.similarity, results))
    probabilities = probabilities_of_use([alike for alike, _ in found])
    return [
        LearntFrom(probability, results)
        for probability, (_, results) in zip(probabilities, found, strict=True)
    ]


# --- Choosing ---


def _chosen(task: Task, spec: TaskSpec) -> list[EarlierTask]:
    """The most similar first."""
    visible = _visible(task.owner).exclude(pk=task.pk)
    named = spec.optimization.warm_start
    if not isinstance(named, bool):
        rated = _rated(task, spec, visible.filter(pk__in=named))
        chosen = [_compared(spec, one, at_least=NAMED_AT_LEAST) for one in rated]
        return _most_similar(chosen)
    rated = _rated(task, spec, _with_results(visible, spec)[:MOST_LOOKED_AT])
    return _most_similar([_compared(spec, one) for one in rated[:MOST_COMPARED]])[:MOST_TASKS]


def _most_similar(compared: Sequence[EarlierTask | None]) -> list[EarlierTask]:
    useful = [one for one in compared if one is not None and one.similarity >= LEAST_SIMILARITY]
    return sorted(useful, key=lambda one: -one.similarity)


@dataclass(frozen=True)
class _Rated:
    """A task that can be learnt from, and how alike it is by its task file and hardware."""

    task: Task
    spec: TaskSpec
    similarity: float


def _rated(task: Task, spec: TaskSpec, candidates: Iterable[Task]) -> list[_Rated]:
    """The most similar first; of equals the newest."""
    comparable = {
        one: their_spec
        for one in candidates
        if (their_spec := _readable(one)) is not None and obstacle(spec, their_spec) is None
    }
    known, hosts = KnownHardware(), _hosts_of(comparable)
    here = known.of_the_future(task, spec)
    rated = [
        _Rated(
            one,
            their_spec,
            similarity(spec, their_spec, here, known.of_the_past(their_spec, hosts[one.pk])),
        )
        for one, their_spec in comparable.items()
    ]
    return sorted(rated, key=lambda one: (-one.similarity, -one.task.pk))


def _compared(spec: TaskSpec, rated: _Rated, at_least: float = 0.0) -> EarlierTask | None:
    """With what the two spaces have in common; None if that is nothing."""
    rows = _measured_by_task([rated.task.pk])[rated.task.pk]
    carried = carried_over(spec.space(), {row.number: row.parameters for row in rows})
    if carried is None:
        return None
    chosen = [row for row in rows if row.number in carried.keys]
    return EarlierTask(
        rated.task.pk,
        round(max(rated.similarity * carried.factor, at_least), 3),
        _spread_by_rank(chosen, MOST_EXPERIMENTS),
    )


def _spread_by_rank(rows: Sequence[Experiment], most: int) -> tuple[int, ...]:
    """The numbers of at most so many, from the best to the worst alike."""
    ranked = sorted(rows, key=lambda row: (row.score or 0.0, row.number))
    if len(ranked) > most:
        ranked = [ranked[place * (len(ranked) - 1) // (most - 1)] for place in range(most)]
    return tuple(sorted(row.number for row in ranked))


def _fault(spec: TaskSpec, task: Task, rows: Sequence[Experiment]) -> str | None:
    """Why a task that is named can't be learnt from, as the end of a sentence."""
    their_spec = _readable(task)
    if their_spec is None:
        return "has a task file that this release can't read any more"
    hindered = obstacle(spec, their_spec)
    if hindered is not None:
        return hindered
    if len(rows) < FEWEST_CONFIGURATIONS:
        return (
            f"has measured {len(rows)} of its configurations; "
            f"it takes {FEWEST_CONFIGURATIONS} to learn from"
        )
    if carried_over(spec.space(), {row.number: row.parameters for row in rows}) is None:
        return (
            "has measured no configurations between which this task's flags differ and all others "
            "do not"
        )
    return None


# --- Reading ---


def _visible(owner: User | None) -> QuerySet[Task]:
    return Task.objects.all() if owner is None else Task.objects.visible_to(owner)


def _with_results(tasks: QuerySet[Task], spec: TaskSpec) -> QuerySet[Task]:
    """Those of the same engine that have measured enough, the newest first."""
    measured = Experiment.objects.filter(task=OuterRef("pk"), **_MEASURED)
    # Not counted, so that the newest are found without a look at all experiments there are.
    has_enough = Exists(measured[FEWEST_CONFIGURATIONS - 1 : FEWEST_CONFIGURATIONS])
    of_engine = tasks.filter(spec__base_runtime=spec.base_runtime.value)
    return of_engine.filter(has_enough).order_by("-pk")


def _readable(task: Task | None) -> TaskSpec | None:
    """None where the task is gone, or was written for a release that had other rules."""
    if task is None:
        return None
    try:
        return task.parsed_spec()
    except InvalidTask:
        return None


def _hosts_of(tasks: Iterable[Task]) -> dict[int, set[str]]:
    hosts: dict[int, set[str]] = defaultdict(set)
    measured = Experiment.objects.filter(task__in=list(tasks), **_MEASURED).order_by()
    for task_id, host in measured.values_list("task_id", "host").distinct():
        hosts[task_id].add(host)
    return hosts


def _measured_by_task(task_ids: Iterable[int]) -> dict[int, list[Experiment]]:
    """What the searches of these tasks have measured to the end, with every limit kept."""
    rows: dict[int, list[Experiment]] = defaultdict(list)
    found = Experiment.objects.filter(task_id__in=list(task_ids), **_MEASURED)
    for row in found.only(*_READ).order_by("task_id", "number"):
        rows[row.task_id].append(row)
    return rows


def _results(spec: TaskSpec, their_spec: TaskSpec, rows: Iterable[Experiment]) -> list[Result]:
    space = spec.space()
    results: list[Result] = []
    for row in rows:
        parameters = in_new_space(space, row.parameters)
        point = _point(spec, their_spec, row)
        if parameters is not None and point is not None:
            results.append((parameters, point))
    return results


def _point(spec: TaskSpec, their_spec: TaskSpec, row: Experiment) -> Point | None:
    """By each objective of `spec`. Scores, where both tasks make them worse by the same limits."""
    with_penalties = have_same_penalties(spec, their_spec)
    values = [
        _score(row, one.metric) if with_penalties else row.value_of(one.metric)
        for one in spec.objectives
    ]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _score(row: Experiment, metric: str) -> float | None:
    """Experiments of a single objective may have no scores by metric."""
    return row.objective_scores.get(metric) if row.objective_scores else row.score
