"""The `optimization.objective` of a task file: a name, a metric with a direction, or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError, field_validator

from tuning.domain.metrics import ALL_METRIC_NAMES, Direction
from tuning.domain.objectives import NAMED_OBJECTIVES, Objective, metric_objective
from tuning.domain.spec_errors import (
    InvalidSection,
    Problem,
    Section,
    problems_of,
    shown,
    unknown_metric,
)
from tuning.domain.spelling import suggestion


class MetricObjective(Section):
    """An objective over any metric."""

    metric: str = Field(
        description="Name of the metric.",
        examples=["ttft_p99_s"],
        json_schema_extra={"enum": list(ALL_METRIC_NAMES)},
    )
    direction: Direction = Field(
        description='"minimize" or "maximize".', examples=[Direction.MINIMIZE.value]
    )

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in ALL_METRIC_NAMES:
            raise ValueError(unknown_metric(metric, ALL_METRIC_NAMES))
        return metric


def read_objective(raw: object) -> Objective:
    """The objective that a task file names or describes.

    Raises:
        InvalidSection: it names or describes none.
    """
    if isinstance(raw, str) and raw in NAMED_OBJECTIVES:
        return NAMED_OBJECTIVES[raw]
    if isinstance(raw, Mapping):
        try:
            form = MetricObjective.model_validate(raw)
        except ValidationError as error:
            raise InvalidSection(problems_of(error, MetricObjective)) from None
        return metric_objective(form.metric, form.direction)
    close = suggestion(raw, NAMED_OBJECTIVES) if isinstance(raw, str) else ""
    message = (
        f"must be one of {', '.join(NAMED_OBJECTIVES)}, "
        f'or an object with "metric" and "direction"{close}'
    )
    raise InvalidSection([Problem((), message, shown(raw))])


def write_objective(objective: Objective) -> Any:
    """The objective as `read_objective` reads it."""
    if objective.name in NAMED_OBJECTIVES:
        return objective.name
    return {"metric": objective.metric, "direction": objective.direction.value}


FEWEST_TOGETHER, MOST_TOGETHER = 2, 4
"""How many objectives a list has."""


def read_objectives(raw: object) -> tuple[Objective, ...]:
    """The objectives of a task file: one, or a list of several that pull apart.

    Raises:
        InvalidSection: with all that is wrong with any of them.
    """
    if not isinstance(raw, list | tuple):
        return (read_objective(raw),)
    if not FEWEST_TOGETHER <= len(raw) <= MOST_TOGETHER:
        message = (
            f"must have {FEWEST_TOGETHER} to {MOST_TOGETHER} objectives; "
            "a single one stands without brackets"
        )
        raise InvalidSection([Problem((), message, shown(raw))])
    objectives: list[Objective] = []
    problems: list[Problem] = []
    for index, item in enumerate(raw):
        try:
            objectives.append(_read_another(item, objectives))
        except InvalidSection as invalid:
            problems += [problem.below(index) for problem in invalid.problems]
    if problems:
        raise InvalidSection(problems)
    return tuple(objectives)


def _read_another(item: object, others: Sequence[Objective]) -> Objective:
    objective = read_objective(item)
    if any(other.metric == objective.metric for other in others):
        message = f"has the metric of another objective, {objective.metric}; keep one"
        raise InvalidSection([Problem((), message, shown(item))])
    return objective


def write_objectives(objectives: tuple[Objective, ...]) -> Any:
    """The objectives as `read_objectives` reads them; one alone without a list."""
    written = [write_objective(objective) for objective in objectives]
    return written[0] if len(written) == 1 else written
